"""The static parts of a head: skin, nose, ears, neck, hair, beard and glasses."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data_manifest.sample._hair import (
    CANVAS,
    CENTRE,
    FACE_COLUMNS,
    FACE_ROWS,
    LONG_HAIR,
    hair_colours,
    hair_outline,
    hairline,
    outline_width,
    to_canvas_pixels,
    to_face_pixels,
)
from data_manifest.sample._painting import Image, Points, blend, ellipse, paint, polygon_mask, ribbon, shade, spline
from data_manifest.sample._speakers import Looks

CANVAS_AREA = (slice(0, CANVAS), slice(0, CANVAS))


@dataclass(frozen=True)
class Head:
    """The images of a head that are painted once per speaker.

    `face`, also as `flushed` and `pale`, and `nape` are (rows, columns, 4) with the outline in the last channel.
    `front` is the hair and glasses in front of the face, and `front_cover` their opacity (rows, columns). `rear` is
    everything behind the face, (512, 512, 4), with premultiplied alpha. `across` and `depth` (rows, columns) give
    each pixel's position on the round head, in pixels.
    """

    looks: Looks
    face: Image
    flushed: Image
    pale: Image
    nape: Image
    front: Image
    front_cover: Image
    rear: Image
    across: Image
    depth: Image


@lru_cache(maxsize=8)
def paint_head(looks: Looks) -> Head:
    """Return the images of this head that are the same in every frame."""
    y, x = np.mgrid[FACE_ROWS, FACE_COLUMNS].astype(np.float32)
    across, down = x - CENTRE[0], (y - CENTRE[1]) / looks.half_width
    width = outline_width(looks, down) * looks.half_width
    inside = np.clip(width - np.abs(across) + 0.5, 0.0, 1.0) * (width > 1)
    depth = np.sqrt(np.maximum(width**2 - across**2, 0.0))
    hair = hair_colours(looks)
    face = _paint_skin(looks, across / looks.half_width, down, depth / np.maximum(width, 1.0))
    _paint_nose(face, looks)
    _paint_beard(face, looks, hair)
    front, cover = _paint_front(looks, hair, face)
    flushed, pale = _tint(face, down, across / looks.half_width)
    nape = hair[FACE_ROWS, FACE_COLUMNS] * 0.9 if looks.hair_style != "bald" else face * 0 + looks.skin
    return Head(
        looks=looks,
        face=_with_outline(face, inside),
        flushed=_with_outline(flushed, inside),
        pale=_with_outline(pale, inside),
        nape=_with_outline(nape, inside),
        front=_with_outline(front, inside),
        front_cover=cover,
        rear=_paint_rear(looks, hair),
        across=across,
        depth=depth,
    )


def _with_outline(image: Image, inside: Image) -> Image:
    return np.dstack([np.clip(image, 0, 255), inside * 255]).astype(np.uint8)


def _paint_skin(looks: Looks, across: Image, down: Image, facing: Image) -> Image:
    """Return the bare face, lit from one side, (rows, columns, 3) float32."""
    base = np.array(looks.skin, np.float32)
    away = np.clip(-looks.light * across * 0.8 + 0.25 * down, 0.0, 1.5)
    dark = np.clip(0.55 * (1 - facing) ** 1.4 + 0.24 * away, 0.0, 1.0)[..., None]
    glow = np.clip(1 - ((across - 0.22 * looks.light) ** 2 * 1.6 + (down + 0.42) ** 2 * 2.2), 0.0, 1.0)[..., None]
    face = base + (np.array(shade(base, 0.58), np.float32) - base) * dark
    face = (face + (np.array(shade(base, 1.6), np.float32) - face) * glow * 0.45).astype(np.float32)
    size = looks.half_width
    spots = [
        ((-0.56, 0.52), (0.2, 0.16), (228, 120, 104), 0.22, 0.13),
        ((0.56, 0.52), (0.2, 0.16), (228, 120, 104), 0.22, 0.13),
        ((-looks.eye_gap, -0.02), (0.22, 0.13), shade(base, 0.6), 0.5, 0.08),
        ((looks.eye_gap, -0.02), (0.22, 0.13), shade(base, 0.6), 0.5, 0.08),
        ((0.0, looks.mouth_y + 0.2), (0.2, 0.035), shade(base, 0.62), 0.4, 0.05),
        ((0.0, looks.jaw - 0.17), (0.15, 0.08), shade(base, 1.35), 0.35, 0.07),
    ]
    for centre, radii, colour, opacity, blur in spots:
        shape = to_face_pixels(looks, ellipse(centre, radii))
        paint(face, shape, colour, opacity=opacity, blur=blur * size)
    return face


def _tint(face: Image, down: Image, across: Image) -> tuple[Image, Image]:
    """Return the face reddened and the face turned pale."""
    reach = np.exp(-(((down - 0.4) / 0.75) ** 4) - (across / 0.95) ** 4)[..., None]
    grey = face @ np.array([0.3, 0.59, 0.11], np.float32)
    red = face * np.array([1.03, 0.76, 0.72], np.float32)
    wan = 0.6 * face + 0.4 * grey[..., None] + np.array([14, 14, 12], np.float32)
    return face + (red - face) * reach, face + (wan - face) * reach


def _paint_nose(face: Image, looks: Looks) -> None:
    size, tip, width = looks.half_width, looks.nose_length, looks.nose_width
    dark, light = shade(looks.skin, 0.55), shade(looks.skin, 1.7)
    side = -1 if looks.light > 0 else 1
    flank = [(0.07 * side, -0.1), (0.08 * side, 0.2), (width * side, tip - 0.05), (0.5 * width * side, tip)]
    paint(face, to_face_pixels(looks, spline(np.array(flank), closed=True)), dark, opacity=0.42, blur=0.035 * size)
    bridge = [
        (-0.035 * side, -0.08),
        (-0.03 * side, 0.3),
        (-0.03 * side, tip - 0.12),
        (0.01, tip - 0.1),
        (0.02, -0.08),
    ]
    paint(face, to_face_pixels(looks, bridge), light, opacity=0.5, blur=0.035 * size)
    under = ellipse((0.0, tip + 0.075), (width * 0.9, 0.035))
    paint(face, to_face_pixels(looks, under), dark, opacity=0.6, blur=0.03 * size)
    paint(
        face, to_face_pixels(looks, ellipse((0.0, tip - 0.03), (0.055, 0.045))), light, opacity=0.45, blur=0.025 * size
    )
    for flip in (-1, 1):
        nostril = ellipse((flip * width * 0.55, tip + 0.035), (width * 0.3, 0.022))
        paint(face, to_face_pixels(looks, nostril), shade(looks.skin, 0.32), opacity=0.75, blur=0.01 * size)
        wing = spline(np.array([(1.0, tip - 0.11), (1.16, tip - 0.01), (0.9, tip + 0.05)]) * [flip * width, 1])
        stroke = ribbon(to_face_pixels(looks, wing), np.linspace(0.6, 2.2, len(wing)))
        paint(face, stroke, dark, opacity=0.65, blur=0.8)


def _paint_beard(face: Image, looks: Looks, hair: Image) -> None:
    if looks.beard == "none":
        return
    mouth, size = looks.mouth_y, looks.half_width
    if looks.beard == "stubble":
        cheek = [(-1.0, 0.3), (-0.82, 0.52), (-0.6, mouth - 0.12), (-0.34, mouth - 0.17), (0.0, mouth - 0.13)]
        back, opacity, soft = [(1.2, 1.7), (-1.2, 1.7)], 0.28, 0.05
    else:
        cheek = [(-0.4, mouth + 0.02), (-0.2, mouth - 0.13), (0.0, mouth - 0.16)]
        back, opacity, soft = [(0.2, mouth - 0.05), (0.0, mouth - 0.07), (-0.2, mouth - 0.05)], 0.92, 0.018
    edge = spline(np.array(cheek + [(-x, y) for x, y in cheek[-2::-1]]))
    shape = to_face_pixels(looks, np.concatenate([edge, back]))
    area = (slice(0, face.shape[0]), slice(0, face.shape[1]))
    blend(face, area, hair[FACE_ROWS, FACE_COLUMNS] * 0.92, polygon_mask(shape, area, blur=soft * size) * opacity)


def _paint_front(looks: Looks, hair: Image, face: Image) -> tuple[Image, Image]:
    """Return colours (rows, columns, 3) and opacity (rows, columns) of hair and glasses; shade the face below them."""
    area = (slice(0, face.shape[0]), slice(0, face.shape[1]))
    colours = hair[FACE_ROWS, FACE_COLUMNS].copy()
    cover: Image = np.zeros(face.shape[:2], np.float32)
    if looks.hair_style != "bald":
        buzz, shape = looks.hair_style == "buzz", to_face_pixels(looks, hairline(looks))
        below = np.array([0.0, 0.05 * looks.half_width])
        shadow = polygon_mask(shape + below, area, blur=0.06 * looks.half_width)
        blend(face, area, shade(looks.skin, 0.5), shadow * 0.6)
        cover = polygon_mask(shape, area, blur=0.05 * looks.half_width if buzz else 1.5) * (0.85 if buzz else 1.0)
    if looks.glasses:
        _paint_glasses(colours, cover, looks)
    return colours, cover


def _paint_glasses(colours: Image, cover: Image, looks: Looks) -> None:
    area = (slice(0, cover.shape[0]), slice(0, cover.shape[1]))
    frame = np.zeros_like(cover)
    for side in (-1, 1):
        centre = side * (looks.eye_gap + 0.015)
        corners = [(-0.3, -0.15), (0.0, -0.18), (0.3, -0.15), (0.28, 0.12), (0.0, 0.22), (-0.28, 0.12)]
        rim = spline(np.array(corners) + np.array([centre, 0.04]), closed=True)
        closed = to_face_pixels(looks, np.concatenate([rim, rim[:1]]))
        frame = np.maximum(frame, polygon_mask(ribbon(closed, np.full(len(closed), 4.2)), area))
        temple = to_face_pixels(looks, [(side * 0.72, -0.06), (side * 1.05, -0.02)])
        frame = np.maximum(frame, polygon_mask(ribbon(temple, np.array([4.2, 4.0])), area))
    bridge = to_face_pixels(looks, spline(np.array([(-0.13, 0.0), (0.0, -0.045), (0.13, 0.0)])))
    frame = np.maximum(frame, polygon_mask(ribbon(bridge, np.full(len(bridge), 4.0)), area))
    blend(colours, area, (58, 48, 46), frame)
    np.maximum(cover, frame * 0.95, out=cover)


def _paint_rear(looks: Looks, hair: Image) -> Image:
    """Return hair behind the face, neck and ears, (512, 512, 4) uint8 with premultiplied alpha."""
    layer = np.zeros((CANVAS, CANVAS, 4), np.float32)
    if looks.hair_style != "bald":
        _cover(layer, hair_outline(looks), hair * (0.94 if looks.hair_style not in LONG_HAIR else 0.8))
    neck = [(-0.58, 0.9), (-0.55, 1.5), (-0.57, 1.9), (-0.6, 2.6)]
    shape = spline(np.array(neck + [(-x, y) for x, y in neck[::-1]]))
    _cover(layer, to_canvas_pixels(looks, shape), np.array(shade(looks.skin, 0.82)))
    shadow = to_canvas_pixels(looks, ellipse((0.06 * -looks.light, looks.jaw - 0.02), (0.72, 0.26)))
    under = polygon_mask(shadow, CANVAS_AREA, blur=0.09 * looks.half_width) * (layer[..., 3] / 255) * 0.75
    inner = polygon_mask(to_canvas_pixels(looks, shape), CANVAS_AREA)
    blend(layer, CANVAS_AREA, shade(looks.skin, 0.45), under * inner)
    if looks.hair_style not in LONG_HAIR:
        _paint_ears(layer, looks)
    if looks.hair_style == "bun":
        _cover(layer, to_canvas_pixels(looks, ellipse((0.0, -looks.skull - 0.12), (0.36, 0.28))), hair * 1.02)
    return np.clip(layer, 0, 255).astype(np.uint8)


def _cover(layer: Image, points: Points, colour: Image) -> None:
    """Paint a shape over a layer with premultiplied alpha, in place."""
    cover = polygon_mask(points, CANVAS_AREA)[..., None]
    layer[..., :3] += (colour - layer[..., :3]) * cover
    layer[..., 3:] += (255 - layer[..., 3:]) * cover


def _paint_ears(layer: Image, looks: Looks) -> None:
    for side in (-1, 1):
        outline = np.array([(0.9, -0.12), (1.07, -0.16), (1.16, -0.02), (1.12, 0.22), (1.02, 0.42), (0.9, 0.4)])
        _cover(
            layer,
            to_canvas_pixels(looks, spline(outline * [side, 1], closed=True)),
            np.array(shade(looks.skin, 0.9)),
        )
        inner = to_canvas_pixels(looks, ellipse((side * 1.02, 0.1), (0.05, 0.13)))
        paint(layer, inner, shade(looks.skin, 0.6), opacity=0.7, blur=2.0)
