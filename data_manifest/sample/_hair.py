"""The position and the outline of a head on its canvas, and its hair."""

import cv2
import numpy as np

from data_manifest.sample._painting import Image, Points, spline
from data_manifest.sample._speakers import Looks

# Heads are painted at twice the final size; shrinking smooths every edge.
CANVAS = 512
CENTRE = (256.0, 226.0)
FACE_ROWS = slice(64, 412)
FACE_COLUMNS = slice(128, 384)

# Hairlines from the left to the right temple, in half head widths; each was designed by hand.
HAIRLINES: dict[str, list[tuple[float, float]]] = {
    "short": [
        (-1.02, 0.12), (-0.93, -0.3), (-0.74, -0.66), (-0.3, -0.8), (0.3, -0.8),
        (0.74, -0.66), (0.93, -0.3), (1.02, 0.1),
    ],
    "side": [
        (-1.02, 0.1), (-0.93, -0.3), (-0.72, -0.62), (-0.42, -0.88), (0.1, -0.74),
        (0.62, -0.6), (0.9, -0.28), (1.02, 0.1),
    ],
    "buzz": [
        (-1.0, 0.05), (-0.92, -0.32), (-0.8, -0.72), (-0.3, -0.9), (0.3, -0.9),
        (0.8, -0.72), (0.92, -0.32), (1.02, 0.1),
    ],
    "curly": [
        (-1.02, 0.05), (-0.92, -0.3), (-0.7, -0.62), (-0.3, -0.7), (0.3, -0.7),
        (0.7, -0.62), (0.92, -0.3), (1.02, 0.1),
    ],
    "bun": [
        (-1.02, -0.05), (-0.9, -0.4), (-0.62, -0.74), (-0.1, -0.92), (0.3, -0.88),
        (0.7, -0.7), (0.92, -0.35), (1.02, 0.1),
    ],
    "long": [
        (-0.86, 1.0), (-0.88, 0.3), (-0.8, -0.3), (-0.55, -0.66), (-0.12, -0.94),
        (0.4, -0.72), (0.78, -0.3), (0.89, 0.3), (0.86, 1.0),
    ],
    "bob": [
        (-0.84, 1.0), (-0.88, 0.4), (-0.86, -0.2), (-0.68, -0.6), (0.25, -0.9),
        (0.66, -0.62), (0.84, -0.2), (0.88, 0.4), (0.84, 1.0),
    ],
    "fringe": [
        (-0.86, 0.9), (-0.88, 0.3), (-0.84, -0.25), (-0.74, -0.48), (-0.3, -0.55),
        (0.2, -0.53), (0.7, -0.5), (0.84, -0.25), (0.88, 0.3), (0.86, 0.9),
    ],
}  # fmt: skip
# How far down long hair reaches, and how much wider than the head the hair is; both in half head widths.
LONG_HAIR = {"long": 2.3, "bob": 1.3, "fringe": 1.5}
HAIR_VOLUME = {
    "short": 0.1,
    "side": 0.13,
    "buzz": 0.025,
    "curly": 0.22,
    "bun": 0.07,
    "long": 0.15,
    "bob": 0.15,
    "fringe": 0.14,
}


def to_face_pixels(looks: Looks, points: object) -> Points:
    """Convert (n, 2) points from half head widths to pixels of the face area."""
    origin = np.array([CENTRE[0] - FACE_COLUMNS.start, CENTRE[1] - FACE_ROWS.start])
    pixels: Points = np.asarray(points, np.float64) * looks.half_width + origin
    return pixels


def to_canvas_pixels(looks: Looks, points: object) -> Points:
    """Convert (n, 2) points from half head widths to pixels of the canvas."""
    return np.asarray(points, np.float64) * looks.half_width + CENTRE


def outline_width(looks: Looks, down: Image) -> Image:
    """Return half the head's width at heights `down`: 1 at the widest, 0 above the skull and below the chin."""
    above = np.maximum(1 - np.abs(np.minimum(down, 0) / looks.skull) ** 2.3, 0.0) ** 0.5
    below = np.maximum(1 - (np.maximum(down, 0) / looks.jaw) ** looks.jaw_power, 0.0) ** 0.52
    return np.where(down < 0, above, below)


def hair_colours(looks: Looks) -> Image:
    """Return the hair's colours for the whole canvas, (512, 512, 3) float32: strands and a band of gloss."""
    rng = np.random.default_rng(round(looks.half_width * 1e6))
    y, x = np.mgrid[:CANVAS, :CANVAS].astype(np.float32)
    x, y = (x - CENTRE[0]) / looks.half_width, (y - CENTRE[1]) / looks.half_width
    angle = np.arctan2(x - 0.15 * looks.light, y + looks.skull + 0.25)
    reach = np.hypot(x, y + looks.skull)
    turns = 5.0 if looks.hair_style == "curly" else 0.12
    strands = rng.normal(0.0, 1.0, 720).astype(np.float32)
    strands = cv2.GaussianBlur(strands[None], (0, 0), 1.2)[0] * 1.4
    position = (angle / np.pi + 1) * 360 + turns * np.sin(9 * reach)
    tone = np.interp(position.ravel(), np.arange(720), strands).reshape(x.shape)
    gloss = np.exp(-(((reach - 0.55) / 0.22) ** 2)) * np.exp(-((x - 0.3 * looks.light) ** 2) * 1.5)
    base = np.array(looks.hair, np.float32)
    factor = 1.0 + 0.1 * tone - 0.16 * np.abs(x) - 0.1 * np.clip(y, -0.5, 1.5)
    colours: Image = base * factor[..., None] + (gloss * (0.7 + 0.3 * tone))[..., None] * (base * 0.35 + 26)
    return np.clip(colours, 0, 255).astype(np.float32)


def hairline(looks: Looks) -> Points:
    """Return the outline of the hair in front of the face, closed far above it, (n, 2) in half head widths."""
    line = HAIRLINES[looks.hair_style]
    above = [(1.6, line[-1][1]), (1.6, -1.9), (-1.6, -1.9), (-1.6, line[0][1])]
    return np.concatenate([spline(np.array(line)), above])


def hair_outline(looks: Looks) -> Points:
    """Return the outline of all hair from the front, (n, 2) pixels of the canvas."""
    volume = HAIR_VOLUME[looks.hair_style]
    heights = -looks.skull * np.sin(np.linspace(0.0, np.pi / 2, 24))[::-1]
    widths = outline_width(looks, heights) * (1 + 0.6 * volume)
    left = np.stack([-widths, heights * (1 + volume)], axis=1)
    if looks.hair_style == "curly":
        bumps = 0.045 * np.abs(np.sin(np.linspace(0, 5.5 * np.pi, 24)))[:, None]
        left = left * (1 + bumps)
    if looks.hair_style in LONG_HAIR:
        low = LONG_HAIR[looks.hair_style]
        sides = [(-1.13, 0.6), (-1.15, 0.75 * low), (-0.95, low), (-0.3, low + 0.03)]
        left = np.concatenate([left, sides])
    else:
        # The outline is rounded behind the ears: a sharp corner would make the spline overshoot.
        left = np.concatenate([left, [(-0.98, 0.12), (-0.85, 0.25), (-0.5, 0.3)]])
    right = left[:0:-1] * [-1, 1]
    return to_canvas_pixels(looks, spline(np.concatenate([left, right]), samples=4, closed=True))
