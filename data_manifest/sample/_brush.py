"""Painting soft and sharp shapes into pictures; positions are in pixels, colours RGB of 0 to 255."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[Any]
Points = NDArray[Any]
# OpenCV takes fixed-point coordinates with this many binary places; without them small movements would jerk.
SHIFT = 4
# Strokes fainter than this can't be seen, and leaving them out saves time.
FAINTEST = 0.04
_ANGLES = np.linspace(0.0, 2 * np.pi, 32, endpoint=False)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def spline(points: Points, *, samples: int = 8, closed: bool = False) -> Points:
    """A smooth curve through (n, 2) points, (m, 2): Catmull-Rom with `samples` steps a stretch."""
    points = np.asarray(points, np.float64)
    return _spline_weights(len(points), samples, closed) @ points


@lru_cache(maxsize=64)
def _spline_weights(count: int, samples: int, closed: bool) -> Points:
    """The curve is linear in its points, so its (m, count) weights are worked out once."""
    unit = np.eye(count)
    if closed:
        ring = np.concatenate([unit[-1:], unit, unit[:2]])
    else:
        ring = np.concatenate([2 * unit[:1] - unit[1:2], unit, 2 * unit[-1:] - unit[-2:-1]])
    t = np.linspace(0.0, 1.0, samples, endpoint=False)[:, None]
    p0, p1, p2, p3 = (ring[k : len(ring) - 3 + k, None] for k in range(4))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * (p1 - p2) + p3 - p0) * t**3)
    smooth = curve.reshape(-1, count)
    return smooth if closed else np.concatenate([smooth, unit[-1:]])


def ribbon(points: Points, widths: Points) -> Points:
    """The outline of a stroke along (n, 2) points whose (n,) widths vary, (2n, 2)."""
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    scale = np.asarray(widths) / (2 * np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6))
    across = along[:, ::-1] * scale[:, None] * [-1.0, 1.0]
    return np.concatenate([points + across, (points - across)[::-1]])


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> Points:
    """The outline of an upright ellipse, (32, 2)."""
    return CIRCLE * radii + centre


def box(points: Points, shape: tuple[int, ...], margin: float) -> tuple[slice, slice] | None:
    """The rows and columns that hold these points and a margin; None if that lies outside the picture."""
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    rows = slice(max(int(top - margin), 0), min(int(bottom + margin) + 2, shape[0]))
    columns = slice(max(int(left - margin), 0), min(int(right + margin) + 2, shape[1]))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return None
    return rows, columns


def mask(points: Points, area: tuple[slice, slice], *, blur: float = 0.0) -> Picture:
    """How much of each pixel of the area a polygon covers, (rows, columns) float32 in 0 to 1."""
    return masks([(points, 1.0)], area, blur=blur)


def masks(shapes: Sequence[tuple[Points, float]], area: tuple[slice, slice], *, blur: float = 0.0) -> Picture:
    """Like `mask`, for several polygons that don't touch, each with its own opacity."""
    rows, columns = area
    cover = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    for points, opacity in shapes:
        fixed = np.rint((points - [columns.start, rows.start]) * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(cover, [fixed], round(255 * min(opacity, 1.0)), cv2.LINE_AA, SHIFT)
    if blur > 0:
        cover = cv2.GaussianBlur(cover, (0, 0), blur)
    return np.multiply(cover, 1 / 255, dtype=np.float32)


def mix(picture: Picture, area: tuple[slice, slice], colour: Any, weight: Picture) -> None:
    """Move the area's colours towards `colour`, one for all or one a pixel, by (rows, columns) weights.

    A fourth channel, if there is one, moves towards 255: paint covers.
    """
    patch = picture[area]
    other = np.full_like(patch, 255)
    other[..., :3] = colour
    patch[...] = cv2.blendLinear(patch, other, 1 - weight, weight)


def paint(picture: Picture, points: Points, colour: Any, *, opacity: float = 1.0, blur: float = 0.0) -> None:
    """Fill a polygon of (n, 2) points, with edges as soft as `blur` pixels."""
    paint_all(picture, [(points, opacity)], colour, blur=blur)


def paint_all(picture: Picture, shapes: Sequence[tuple[Points, float]], colour: Any, *, blur: float) -> None:
    """Fill polygons that don't touch, of one colour, each with its own opacity, at the price of one."""
    seen = [(points, opacity) for points, opacity in shapes if opacity > FAINTEST]
    area = box(np.concatenate([points for points, _ in seen]), picture.shape, 2 + 3 * blur) if seen else None
    if area is not None:
        mix(picture, area, colour, masks(seen, area, blur=blur))


def shade(colour: Any, factor: float) -> tuple[float, float, float]:
    """A lighter (factor above 1) or darker colour; shadows turn warmer, as they do on skin."""
    red, green, blue = colour
    if factor >= 1:
        return tuple(255 - (255 - c) / factor for c in (red, green, blue))
    return red * factor**0.75, green * factor, blue * factor**1.05
