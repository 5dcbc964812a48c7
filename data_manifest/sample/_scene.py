"""Filming: the head turned, tilted and set before a backdrop, with a camera's light, colours and noise."""

from dataclasses import dataclass

import cv2
import numpy as np

from data_manifest.sample._acting import Pose
from data_manifest.sample._brush import Picture, Points, mask, mix, paint, ribbon, shade, spline
from data_manifest.sample._features import paint_features
from data_manifest.sample._hair import CENTRE, FACE_COLUMNS, FACE_ROWS
from data_manifest.sample._head import Head, head
from data_manifest.sample._people import Looks, Person
from data_manifest.sample._script import Stream, Utterance

SIZE = 256
FACE = (FACE_ROWS, FACE_COLUMNS)
PICTURE = (slice(0, SIZE), slice(0, SIZE))
# Beyond this turn, in radians, the nape may come into view.
NAPE_FROM = 0.5
TURNED_AWAY = 2.3


@dataclass(frozen=True)
class Set:
    """What stays the same during a clip: backdrop and shirt (256, 256, 3 and 4), camera and framing."""

    head: Head
    present: bool
    backdrop: Picture
    shirt: Picture
    curve: Picture
    grain: Picture
    shift: tuple[float, float]
    zoom: float


def build(utterance: Utterance, person: Person) -> Set:
    """Set up one clip."""
    rng = utterance.generator(Stream.CAMERA)
    looks = person.looks
    gains = rng.normal(1.0, 0.035) * (1 + rng.normal(0.0, 0.014, 3))
    ramp = np.linspace(0.0, 1.0, 256)[:, None] ** rng.uniform(0.92, 1.09)
    curve = np.clip(np.round(255 * gains * ramp), 0, 255).astype(np.uint8)
    sigma = rng.uniform(1.0, 3.5)
    grain = np.round(128 + rng.normal(0.0, sigma, (SIZE + 32, SIZE + 32))).astype(np.uint8)
    shift = (float(rng.normal(0.0, 5.0)), float(rng.normal(2.0, 3.0)))
    return Set(
        head=head(looks),
        present=utterance.present,
        backdrop=_backdrop(looks),
        shirt=_shirt(looks, shift),
        curve=curve[:, None],
        grain=cv2.cvtColor(grain, cv2.COLOR_GRAY2RGB),
        shift=shift,
        zoom=float(rng.uniform(1.06, 1.16)),
    )


def film(stage: Set, pose: Pose, *, covered: float, rng: np.random.Generator) -> Picture:
    """One frame, (256, 256, 3) uint8 RGB; `covered` is how far a sheet of paper is held up, 0 to 1."""
    picture = stage.backdrop.copy()
    if stage.present:
        _over(picture, _framed(_turned(stage.head, pose), stage, pose))
        _over(picture, stage.shirt)
        if covered > 0:
            _hold_paper(picture, stage, covered)
    picture = cv2.LUT(picture, stage.curve.transpose(1, 0, 2))
    top, left = rng.integers(0, 32, 2)
    grain = stage.grain[top : top + SIZE, left : left + SIZE]
    return cv2.addWeighted(picture, 1.0, grain, 1.0, -128.0)


def _turned(subject: Head, pose: Pose) -> Picture:
    """The head in this pose, still in the middle of its canvas, (512, 512, 4) uint8, colours times cover."""
    blood = min(abs(pose.flush), 1.0)
    tinted = subject.flushed if pose.flush > 0 else subject.pale
    face = cv2.addWeighted(subject.face, 1 - blood, tinted, blood, 0)
    paint_features(face, subject.looks, pose)
    cover = subject.front_cover
    face = cv2.blendLinear(face, subject.front, 1 - cover, cover)
    turn_sin, turn_cos = np.float32(np.sin(pose.yaw)), np.float32(np.cos(pose.yaw))
    size = subject.looks.half_width
    rows = np.arange(face.shape[0], dtype=np.float32)
    down = (rows + FACE_ROWS.start - CENTRE[1]) / size
    x = subject.across * turn_cos + subject.depth * turn_sin + (CENTRE[0] - FACE_COLUMNS.start)
    y = np.repeat((rows - _pull(down, pose) * size)[:, None], face.shape[1], axis=1)
    face = cv2.remap(face, x, y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if abs(pose.yaw) > NAPE_FROM:
        seen = subject.depth * turn_cos - subject.across * turn_sin
        front = np.clip(seen / 6 + 0.5, 0.0, 1.0).astype(np.float32)
        face = cv2.blendLinear(face, subject.nape, front, 1 - front)
    canvas = subject.rear.copy()
    inside = face[..., 3].astype(np.float32) / 255
    face[..., 3] = 255
    canvas[FACE] = cv2.blendLinear(face, canvas[FACE], inside, 1 - inside)
    return canvas


def _pull(down: Picture, pose: Pose) -> Picture:
    """How far each height of the face has moved down, in half head widths: nodding, and the jaw's drop."""
    nod = 0.09 * np.clip(pose.nod, -1.2, 1.5) * np.exp(-(((down - 0.2) / 0.8) ** 2))
    jaw = 0.11 * np.clip(pose.part, 0.0, 1.25) * np.clip((down - 0.95) / 0.45, 0.0, 1.0)
    pulled: Picture = nod + jaw
    return pulled


def _framed(canvas: Picture, stage: Set, pose: Pose) -> Picture:
    """The canvas tilted, moved and shrunk into the picture, (256, 256, 4)."""
    zoom = stage.zoom * (1 + 0.06 * np.clip(pose.lean, -1.5, 1.5))
    pivot = (CENTRE[0], CENTRE[1] + 120)
    matrix = cv2.getRotationMatrix2D(pivot, float(np.degrees(pose.roll)), float(zoom))
    matrix[0, 2] += 2 * stage.shift[0] + 20 * np.sin(pose.yaw)
    matrix[1, 2] += 2 * stage.shift[1] + 8 * pose.nod
    # Halved with pixel centres kept in place, so that each sample lies between four pixels of the canvas.
    halved = matrix / 2 - [[0, 0, 0.25], [0, 0, 0.25]]
    return cv2.warpAffine(canvas, halved, (SIZE, SIZE), flags=cv2.INTER_LINEAR)


def _over(picture: Picture, layer: Picture) -> None:
    """Lay (256, 256, 4) colours times cover over a picture, in place."""
    clear = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    colours = cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB)
    cv2.add(cv2.multiply(picture, clear, scale=1 / 255), colours, dst=picture)


def _backdrop(looks: Looks) -> Picture:
    """A lit wall, (256, 256, 3) uint8."""
    steps = np.linspace(-1.0, 1.0, SIZE)
    x, y = steps[None], steps[:, None]
    base = np.array(looks.backdrop, np.float64)
    light = np.exp(-((x - 0.7 * looks.light) ** 2 + (y + 0.5) ** 2) * 0.8)
    wall: Picture = base * (0.74 + 0.34 * light - 0.07 * y)[..., None]
    return np.clip(wall, 0, 255).astype(np.uint8)


def _shirt(looks: Looks, shift: tuple[float, float]) -> Picture:
    """Shoulders, moved with the framing, (256, 256, 4) uint8, colours times cover."""
    layer = np.zeros((SIZE, SIZE, 4), np.float32)
    move = np.array([0.8 * shift[0], max(shift[1], 0.0)])
    left = [(-30, 300), (6, 246), (40, 226), (84, 213), (98, 207), (108, 222), (128, 229)]
    outline = spline(np.array(left + [(256 - x, y) for x, y in left[-2::-1]], np.float64)) + move
    cover = mask(outline, PICTURE, blur=0.6)
    x = (np.arange(SIZE) - 128) / 128
    side = 1 - 0.3 * np.abs(x) ** 1.5 + 0.12 * looks.light * x
    layer[..., :3] = np.array(looks.shirt, np.float32) * side[None, :, None]
    collar = spline(np.array([(97, 207), (108, 223), (128, 231), (148, 223), (159, 207)], np.float64)) + move
    paint(layer, ribbon(collar, np.full(len(collar), 6.0)), shade(looks.shirt, 0.75), blur=0.8)
    layer[..., :3] *= cover[..., None]
    layer[..., 3] = cover * 255
    return np.clip(layer, 0, 255).astype(np.uint8)


def _hold_paper(picture: Picture, stage: Set, covered: float) -> None:
    top = 262 - 212 * covered
    corners = np.array([(62.0, top + 6), (188.0, top), (194.0, top + 178), (68.0, top + 184)])
    aside = np.array([stage.shift[0], 0.0])
    sheet: Points = corners + aside
    paint(picture, sheet + np.array([3.0, 4.0]), (60, 52, 50), opacity=0.35, blur=4.0)
    mix(picture, PICTURE, (240, 238, 232), mask(sheet, PICTURE))
    for line in range(1, 9):
        ends = np.array([(80.0, top + 6 + 18 * line), (172.0 - 14 * (line % 3), top + 2 + 18 * line)])
        paint(picture, ribbon(ends + aside, np.full(2, 3.0)), (150, 152, 160), opacity=0.8)
