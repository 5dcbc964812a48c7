"""The moving parts of a face, painted for one pose: brows, eyes and mouth."""

import cv2
import numpy as np

from data_manifest.sample._expression import Pose
from data_manifest.sample._hair import to_face_pixels
from data_manifest.sample._painting import (
    SHIFT,
    Image,
    Points,
    blend,
    bounding_area,
    ellipse,
    paint,
    paint_all,
    polygon_mask,
    ribbon,
    shade,
    spline,
)
from data_manifest.sample._speakers import Looks

LIPS = np.array([190.0, 92.0, 88.0])
SCLERA = (238, 234, 230)
# Positions along a lid and along a lip, from corner to corner.
ALONG_LID = np.linspace(-1.0, 1.0, 13)
ALONG_LIP = np.linspace(-1.0, 1.0, 21)
# Widths along a stroke of three points and a brow of four, both with five steps per segment.
SWELL = np.sin(np.linspace(0.08, np.pi - 0.08, 11)) ** 0.6
BROW = np.interp(np.linspace(0, 1, 16), [0, 0.08, 0.25, 0.6, 1], [0.4, 0.8, 1.0, 0.85, 0.12])
LASHES = 0.4 + 0.6 * np.linspace(0.3, 1.0, 13)
TEETH = (1 - ALONG_LIP**4) ** 0.5


def paint_features(face: Image, looks: Looks, pose: Pose) -> None:
    """Paint brows, eyes, mouth and skin folds onto a face (rows, columns, 4) uint8, in place."""
    _paint_folds(face, looks, pose)
    _paint_mouth(face, looks, pose)
    for side in (-1, 1):
        _paint_eye(face, looks, pose, side)
        _paint_brow(face, looks, pose, side)


def _stroke(looks: Looks, points: object, width: float) -> Points:
    """Return the outline of a line through three points, widest in the middle; `width` in half head widths."""
    line = to_face_pixels(looks, spline(np.asarray(points, np.float64), samples=5))
    return ribbon(line, SWELL * width * looks.half_width)


def _paint_folds(face: Image, looks: Looks, pose: Pose) -> None:
    cheeks, squint = min(max(pose.smile, 0.8 * pose.sneer, 0.0), 1.2), min(max(pose.squint, 0.0), 1.0)
    wing, tip, gap = looks.nose_width, looks.nose_length, looks.eye_gap
    shapes = []
    for side in (-1, 1):
        fold = [
            (wing + 0.06, tip - 0.02),
            (0.36, tip + 0.16),
            (looks.mouth_width + 0.12, looks.mouth_y - 0.05),
        ]
        bag = [(gap - 0.16, 0.15), (gap, 0.19 - 0.03 * squint), (gap + 0.17, 0.13)]
        frown = [(0.09, -0.12), (0.075, -0.22), (0.09, -0.32)]
        crease = [(0.05, 0.02), (0.08, 0.08), (0.13, 0.11)]
        for points, width, opacity in (
            (fold, 0.035, 0.12 + 0.45 * cheeks),
            (bag, 0.03, 0.18 + 0.3 * squint),
            (frown, 0.03, 0.6 * pose.brow_squeeze),
            (crease, 0.025, 0.6 * pose.sneer),
        ):
            shapes.append((_stroke(looks, np.array(points) * [side, 1], width), opacity))
    if looks.hair_style != "fringe":
        for height in (-0.56, -0.66):
            line = [(-0.4, height + 0.03), (0.0, height), (0.4, height + 0.03)]
            shapes.append((_stroke(looks, line, 0.03), 0.4 * min(pose.brow_raise - 0.3, 1.0)))
    paint_all(face, shapes, shade(looks.skin, 0.55), blur=1.6)


def _paint_brow(face: Image, looks: Looks, pose: Pose, side: int) -> None:
    lift = looks.brow_height - 0.03 - 0.17 * pose.brow_raise
    gap = looks.eye_gap
    squeeze = np.clip(pose.brow_squeeze, -0.3, 1.2)
    inner = (gap - 0.25 - 0.07 * squeeze, lift + 0.03 - 0.17 * pose.brow_tilt + 0.06 * squeeze)
    middle = (gap - 0.06, lift - 0.025 - 0.03 * max(pose.brow_raise, -0.6) - 0.05 * pose.brow_tilt)
    peak = (gap + 0.12, lift - 0.05 + 0.02 * pose.brow_tilt)
    outer = (gap + 0.29, lift + 0.05 + 0.08 * pose.brow_tilt)
    line = to_face_pixels(looks, spline(np.array([inner, middle, peak, outer]) * [side, 1], samples=5))
    width = looks.brow_width * 1.25 * looks.half_width
    # Brows stay dark enough to be visible with grey and fair hair.
    colour = np.minimum(np.array(looks.hair) * 0.7, 60) if looks.hair_style != "bald" else (62, 46, 38)
    paint(face, ribbon(line, BROW * width), colour, opacity=0.92, blur=1.1)


def _paint_eye(face: Image, looks: Looks, pose: Pose, side: int) -> None:
    size, half = looks.half_width, looks.eye_size
    opening = np.clip(1.0 + 0.65 * pose.lid - 0.28 * max(pose.squint, -0.5), 0.03, 1.9)
    u = ALONG_LID
    slant = -looks.eye_slant * u
    arch = np.maximum(1 - np.abs(u - 0.08) ** 2.2, 0.0) ** 0.75
    upper = 0.03 + slant - 0.135 * opening * arch
    lower = 0.03 + slant + (0.062 - 0.045 * np.clip(pose.squint, -0.5, 1) + 0.012 * opening) * (1 - u**2)
    lower = np.maximum(lower, upper + 0.008)
    x = side * (looks.eye_gap + half * u)
    top, bottom = to_face_pixels(looks, np.stack([x, upper], 1)), to_face_pixels(looks, np.stack([x, lower], 1))
    shape = np.concatenate([top, bottom[::-1]])
    area = bounding_area(shape, face.shape, 0.12 * size)
    if area is not None:
        ball = _paint_eyeball(face, looks, pose, (side * looks.eye_gap, 0.015), area)
        blend(face, area, ball, polygon_mask(shape, area))
    lid = to_face_pixels(looks, np.stack([x, upper - 0.05 - 0.02 * opening], 1))[1:-1]
    paint(face, ribbon(lid, np.full(len(lid), 0.02 * size)), shade(looks.skin, 0.5), opacity=0.55, blur=1.0)
    lash = LASHES * (looks.lashes + 0.012) * size
    paint(face, ribbon(top, lash), (38, 26, 24), opacity=0.95, blur=0.5)
    paint(face, ribbon(bottom, np.full(13, 0.016 * size)), shade(looks.skin, 0.45), opacity=0.6, blur=0.6)


def _paint_eyeball(
    face: Image, looks: Looks, pose: Pose, centre: tuple[float, float], area: tuple[slice, slice]
) -> Image:
    """Return the eye without lids, in the given area, (rows, columns, 3)."""
    ball = np.empty((*face[area].shape[:2], 3), np.uint8)
    ball[:] = SCLERA
    offset = np.array([area[1].start, area[0].start])
    gaze = np.clip([pose.gaze_x, pose.gaze_y], -1.2, 1.2) * [0.06, 0.045]
    iris = to_face_pixels(looks, [(centre[0] + gaze[0], centre[1] + gaze[1])])[0] - offset
    radius = 0.11 * looks.half_width
    for scale, colour in ((1.0, shade(looks.iris, 0.5)), (0.86, looks.iris), (0.45, (18, 14, 14))):
        _paint_disc(ball, iris, scale * radius, colour)
    highlight = ellipse((iris[0], iris[1] + 0.5 * radius), (0.5 * radius, 0.3 * radius))
    paint(ball, highlight, shade(looks.iris, 1.5), opacity=0.5, blur=1.2)
    _paint_disc(ball, iris + np.array([0.35 * np.sign(looks.light), -0.38]) * radius, 0.24 * radius, (255, 255, 255))
    # The shadow of the lid makes the eyeball look round.
    rows = np.arange(ball.shape[0])[:, None]
    fall = np.clip(1 - (rows - 0.3 * ball.shape[0]) / (0.25 * ball.shape[0]), 0, 1) * 0.28
    shaded: Image = ball * (1 - fall[..., None])
    return shaded


def _paint_disc(image: Image, centre: Points, radius: float, colour: object) -> None:
    fixed = [round(float(v) * (1 << SHIFT)) for v in (*centre, radius)]
    cv2.circle(image, (fixed[0], fixed[1]), fixed[2], tuple(colour), -1, cv2.LINE_AA, SHIFT)  # type: ignore[arg-type]


def _paint_mouth(face: Image, looks: Looks, pose: Pose) -> None:
    skin = np.array(looks.skin, np.float64)
    lips = 0.55 * LIPS * (0.5 + 0.5 * skin / 235) + 0.45 * skin * [0.86, 0.66, 0.64]
    if looks.lashes > 0.03:
        lips = lips * [1.0, 0.86, 0.88]
    upper, lower, top, bottom = _lip_lines(looks, pose)
    paint(face, to_face_pixels(looks, np.concatenate([upper, lower[::-1]])), lips * 0.98, opacity=0.95, blur=0.6)
    shine = to_face_pixels(looks, 0.5 * (bottom + lower)[7:14] + [0, 0.005])
    paint(
        face,
        ribbon(shine, np.full(len(shine), 0.02 * looks.half_width)),
        shade(lips, 1.8),
        opacity=0.45,
        blur=1.6,
    )
    paint(face, to_face_pixels(looks, np.concatenate([upper, top[::-1]])), shade(lips, 0.78), opacity=0.55, blur=0.8)
    gap = to_face_pixels(looks, np.concatenate([top, bottom[::-1]]))
    area = bounding_area(gap, face.shape, 2.0)
    if area is not None:
        blend(face, area, _paint_mouth_cavity(face, looks, pose, top, area), polygon_mask(gap, area))
    seam = to_face_pixels(looks, top)
    paint(
        face,
        ribbon(seam, np.full(len(seam), 0.016 * looks.half_width)),
        shade(lips, 0.42),
        opacity=0.75,
        blur=0.6,
    )
    corners = [to_face_pixels(looks, ellipse((x, y), (0.035, 0.025))) for x, y in (upper[0], upper[-1])]
    paint_all(face, [(corner, 0.5) for corner in corners], shade(looks.skin, 0.42), blur=1.6)


def _lip_lines(looks: Looks, pose: Pose) -> tuple[Points, Points, Points, Points]:
    """Return the outer edges of upper and lower lip, then the inner ones, (21, 2) each."""
    u = ALONG_LIP
    opening = np.clip(pose.mouth_open, 0.0, 1.25)
    half = looks.mouth_width * (1 + 0.35 * pose.stretch + 0.1 * max(pose.smile, 0.0) - 0.1 * opening)
    full = looks.lip * (1 - 0.45 * np.clip(pose.press, 0, 1)) * (1 - 0.15 * max(pose.stretch, 0.0))
    x = half * u
    bend = -0.18 * pose.smile * (np.abs(u) ** 1.7 - 0.35)
    # A sneer is usually one-sided.
    lift = 0.055 * np.clip(pose.sneer, -0.3, 1.2) * np.exp(-(((u - 0.3) / 0.5) ** 2))
    arch = np.maximum(1 - u**2, 0.0)
    middle = looks.mouth_y + bend
    top = middle - 0.06 * opening * arch**0.7 - lift
    bottom = middle + 0.34 * opening * arch**0.55 - 0.3 * lift
    bow = 0.018 * np.exp(-((u / 0.16) ** 2))
    upper = top - full * arch**0.6 * (1 - 0.2 * np.abs(u)) + bow
    lower = bottom + 1.3 * full * arch**0.6
    return tuple(np.stack([x, y], axis=1) for y in (upper, lower, top, bottom))  # type: ignore[return-value]


def _paint_mouth_cavity(face: Image, looks: Looks, pose: Pose, top: Points, area: tuple[slice, slice]) -> Image:
    """Return teeth and tongue, in the given area, (rows, columns, 3) uint8."""
    inside = np.empty((*face[area].shape[:2], 3), np.uint8)
    inside[:] = (74, 22, 26)
    offset = np.array([area[1].start, area[0].start])
    opening = np.clip(pose.mouth_open, 0.0, 1.25)
    tongue = to_face_pixels(looks, ellipse((0.0, looks.mouth_y + 0.34 * opening), (0.2, 0.1))) - offset
    paint(inside, tongue, (176, 82, 82), opacity=0.85, blur=2.5)
    shown = 0.06 + 0.06 * max(pose.smile, 0.0) + 0.03 * max(pose.sneer, 0.0)
    edge = top * [0.88, 1.0]
    drop = np.stack([np.zeros(TEETH.size), shown * TEETH], axis=1)
    teeth = to_face_pixels(looks, np.concatenate([edge - [0, 0.02], (edge + drop)[::-1]])) - offset
    paint(inside, teeth, (240, 234, 224), opacity=0.95, blur=0.8)
    return inside
