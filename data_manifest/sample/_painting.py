"""Paint shapes with soft or sharp edges; positions are in pixels, colours are RGB from 0 to 255."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
Points = NDArray[Any]
# The fractional bits of OpenCV's fixed-point coordinates; without them small movements would jerk.
SHIFT = 4
# Fainter strokes are invisible; skipping them saves time.
MIN_OPACITY = 0.04
_ANGLES = np.linspace(0.0, 2 * np.pi, 32, endpoint=False)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def spline(points: Points, *, samples: int = 8, closed: bool = False) -> Points:
    """Return a smooth curve through (n, 2) points, (m, 2): Catmull-Rom with `samples` steps per segment."""
    points = np.asarray(points, np.float64)
    return _spline_weights(len(points), samples, closed) @ points


@lru_cache(maxsize=64)
def _spline_weights(count: int, samples: int, closed: bool) -> Points:
    """Return the (m, count) weights of the curve, which is linear in its points."""
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
    """Return the outline of a stroke along (n, 2) points with (n,) widths, (2n, 2)."""
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    scale = np.asarray(widths) / (2 * np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6))
    across = along[:, ::-1] * scale[:, None] * [-1.0, 1.0]
    return np.concatenate([points + across, (points - across)[::-1]])


def ellipse(centre: tuple[float, float], radii: tuple[float, float]) -> Points:
    """Return the outline of an upright ellipse, (32, 2)."""
    return CIRCLE * radii + centre


def bounding_area(points: Points, shape: tuple[int, ...], margin: float) -> tuple[slice, slice] | None:
    """Return the rows and columns that contain these points and a margin, or None outside the image."""
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    rows = slice(max(int(top - margin), 0), min(int(bottom + margin) + 2, shape[0]))
    columns = slice(max(int(left - margin), 0), min(int(right + margin) + 2, shape[1]))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return None
    return rows, columns


def polygon_mask(points: Points, area: tuple[slice, slice], *, blur: float = 0.0) -> Image:
    """Return how much of each pixel of the area a polygon covers, (rows, columns) float32 in 0 to 1."""
    return polygon_masks([(points, 1.0)], area, blur=blur)


def polygon_masks(shapes: Sequence[tuple[Points, float]], area: tuple[slice, slice], *, blur: float = 0.0) -> Image:
    """Return the mask of several polygons that do not touch, each with an opacity."""
    rows, columns = area
    cover = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    for points, opacity in shapes:
        fixed = np.rint((points - [columns.start, rows.start]) * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(cover, [fixed], round(255 * min(opacity, 1.0)), cv2.LINE_AA, SHIFT)
    if blur > 0:
        cover = cv2.GaussianBlur(cover, (0, 0), blur)
    return np.multiply(cover, 1 / 255, dtype=np.float32)


def blend(image: Image, area: tuple[slice, slice], colour: Any, weight: Image) -> None:
    """Blend the area with `colour`, one for all or one per pixel, by (rows, columns) weights.

    A fourth channel, if there is one, is blended with 255 because paint is opaque.
    """
    patch = image[area]
    other = np.full_like(patch, 255)
    other[..., :3] = colour
    patch[...] = cv2.blendLinear(patch, other, 1 - weight, weight)


def paint(image: Image, points: Points, colour: Any, *, opacity: float = 1.0, blur: float = 0.0) -> None:
    """Fill a polygon of (n, 2) points; `blur` pixels soften its edges."""
    paint_all(image, [(points, opacity)], colour, blur=blur)


def paint_all(image: Image, shapes: Sequence[tuple[Points, float]], colour: Any, *, blur: float) -> None:
    """Fill polygons of one colour that do not touch, each with an opacity, as fast as one."""
    visible = [(points, opacity) for points, opacity in shapes if opacity > MIN_OPACITY]
    area = (
        bounding_area(np.concatenate([points for points, _ in visible]), image.shape, 2 + 3 * blur) if visible else None
    )
    if area is not None:
        blend(image, area, colour, polygon_masks(visible, area, blur=blur))


def shade(colour: Any, factor: float) -> tuple[float, float, float]:
    """Return a lighter (factor above 1) or darker colour; shadows turn warmer, as they do on skin."""
    red, green, blue = colour
    if factor >= 1:
        return tuple(255 - (255 - c) / factor for c in (red, green, blue))
    return red * factor**0.75, green * factor, blue * factor**1.05
