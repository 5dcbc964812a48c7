"""Render frames: turn and tilt the head, place it in front of a backdrop, and add camera colours and noise."""

from dataclasses import dataclass

import cv2
import numpy as np

from data_manifest.sample._expression import Pose
from data_manifest.sample._facial_features import paint_features
from data_manifest.sample._hair import CENTRE, FACE_COLUMNS, FACE_ROWS
from data_manifest.sample._head import Head, paint_head
from data_manifest.sample._painting import Image, Points, blend, paint, polygon_mask, ribbon, shade, spline
from data_manifest.sample._plan import Stream, Utterance
from data_manifest.sample._speakers import Looks, Speaker

SIZE = 256
FACE_AREA = (FACE_ROWS, FACE_COLUMNS)
IMAGE_AREA = (slice(0, SIZE), slice(0, SIZE))
# The nape may become visible beyond this yaw.
NAPE_MIN_YAW_RAD = 0.5
TURNED_AWAY_RAD = 2.3


@dataclass(frozen=True)
class Scene:
    """What stays the same during a clip: head, backdrop (256, 256, 3), shirt (256, 256, 4), camera and framing."""

    head: Head
    has_face: bool
    backdrop: Image
    shirt: Image
    curve: Image
    grain: Image
    shift: tuple[float, float]
    zoom: float


def build_scene(utterance: Utterance, speaker: Speaker) -> Scene:
    """Return the scene of one clip."""
    rng = utterance.random_generator(Stream.CAMERA)
    looks = speaker.looks
    gains = rng.normal(1.0, 0.035) * (1 + rng.normal(0.0, 0.014, 3))
    ramp = np.linspace(0.0, 1.0, 256)[:, None] ** rng.uniform(0.92, 1.09)
    curve = np.clip(np.round(255 * gains * ramp), 0, 255).astype(np.uint8)
    sigma = rng.uniform(1.0, 3.5)
    grain = np.round(128 + rng.normal(0.0, sigma, (SIZE + 32, SIZE + 32))).astype(np.uint8)
    shift = (float(rng.normal(0.0, 5.0)), float(rng.normal(2.0, 3.0)))
    return Scene(
        head=paint_head(looks),
        has_face=utterance.has_face,
        backdrop=_paint_backdrop(looks),
        shirt=_paint_shirt(looks, shift),
        curve=curve[:, None],
        grain=cv2.cvtColor(grain, cv2.COLOR_GRAY2RGB),
        shift=shift,
        zoom=float(rng.uniform(1.06, 1.16)),
    )


def render_frame(scene: Scene, pose: Pose, *, covered: float, rng: np.random.Generator) -> Image:
    """Return a frame, (256, 256, 3) uint8 RGB; `covered` is how far a sheet of paper is raised, 0 to 1."""
    image = scene.backdrop.copy()
    if scene.has_face:
        _composite(image, _frame_head(_pose_head(scene.head, pose), scene, pose))
        _composite(image, scene.shirt)
        if covered > 0:
            _paint_paper(image, scene, covered)
    image = cv2.LUT(image, scene.curve.transpose(1, 0, 2))
    top, left = rng.integers(0, 32, 2)
    grain = scene.grain[top : top + SIZE, left : left + SIZE]
    return cv2.addWeighted(image, 1.0, grain, 1.0, -128.0)


def _pose_head(head: Head, pose: Pose) -> Image:
    """Return the head in this pose on its canvas, (512, 512, 4) uint8 with premultiplied alpha."""
    amount = min(abs(pose.flush), 1.0)
    tinted = head.flushed if pose.flush > 0 else head.pale
    face = cv2.addWeighted(head.face, 1 - amount, tinted, amount, 0)
    paint_features(face, head.looks, pose)
    cover = head.front_cover
    face = cv2.blendLinear(face, head.front, 1 - cover, cover)
    turn_sin, turn_cos = np.float32(np.sin(pose.yaw)), np.float32(np.cos(pose.yaw))
    size = head.looks.half_width
    rows = np.arange(face.shape[0], dtype=np.float32)
    down = (rows + FACE_ROWS.start - CENTRE[1]) / size
    x = head.across * turn_cos + head.depth * turn_sin + (CENTRE[0] - FACE_COLUMNS.start)
    y = np.repeat((rows - _vertical_shift(down, pose) * size)[:, None], face.shape[1], axis=1)
    face = cv2.remap(face, x, y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if abs(pose.yaw) > NAPE_MIN_YAW_RAD:
        facing = head.depth * turn_cos - head.across * turn_sin
        front = np.clip(facing / 6 + 0.5, 0.0, 1.0).astype(np.float32)
        face = cv2.blendLinear(face, head.nape, front, 1 - front)
    canvas = head.rear.copy()
    inside = face[..., 3].astype(np.float32) / 255
    face[..., 3] = 255
    canvas[FACE_AREA] = cv2.blendLinear(face, canvas[FACE_AREA], inside, 1 - inside)
    return canvas


def _vertical_shift(down: Image, pose: Pose) -> Image:
    """Return how far nodding and the jaw move each height of the face down, in half head widths."""
    nod = 0.09 * np.clip(pose.nod, -1.2, 1.5) * np.exp(-(((down - 0.2) / 0.8) ** 2))
    jaw = 0.11 * np.clip(pose.mouth_open, 0.0, 1.25) * np.clip((down - 0.95) / 0.45, 0.0, 1.0)
    shift: Image = nod + jaw
    return shift


def _frame_head(canvas: Image, scene: Scene, pose: Pose) -> Image:
    """Return the canvas tilted, shifted and scaled to the frame, (256, 256, 4)."""
    zoom = scene.zoom * (1 + 0.06 * np.clip(pose.lean, -1.5, 1.5))
    pivot = (CENTRE[0], CENTRE[1] + 120)
    matrix = cv2.getRotationMatrix2D(pivot, float(np.degrees(pose.roll)), float(zoom))
    matrix[0, 2] += 2 * scene.shift[0] + 20 * np.sin(pose.yaw)
    matrix[1, 2] += 2 * scene.shift[1] + 8 * pose.nod
    # Halving keeps pixel centres in place, so that each sample is between four pixels of the canvas.
    halved = matrix / 2 - [[0, 0, 0.25], [0, 0, 0.25]]
    return cv2.warpAffine(canvas, halved, (SIZE, SIZE), flags=cv2.INTER_LINEAR)


def _composite(image: Image, layer: Image) -> None:
    """Composite a (256, 256, 4) layer with premultiplied alpha over an image, in place."""
    clear = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    colours = cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB)
    cv2.add(cv2.multiply(image, clear, scale=1 / 255), colours, dst=image)


def _paint_backdrop(looks: Looks) -> Image:
    """Return a lit wall, (256, 256, 3) uint8."""
    steps = np.linspace(-1.0, 1.0, SIZE)
    x, y = steps[None], steps[:, None]
    base = np.array(looks.backdrop, np.float64)
    light = np.exp(-((x - 0.7 * looks.light) ** 2 + (y + 0.5) ** 2) * 0.8)
    wall: Image = base * (0.74 + 0.34 * light - 0.07 * y)[..., None]
    return np.clip(wall, 0, 255).astype(np.uint8)


def _paint_shirt(looks: Looks, shift: tuple[float, float]) -> Image:
    """Return the shoulders, shifted with the framing, (256, 256, 4) uint8 with premultiplied alpha."""
    layer = np.zeros((SIZE, SIZE, 4), np.float32)
    move = np.array([0.8 * shift[0], max(shift[1], 0.0)])
    left = [(-30, 300), (6, 246), (40, 226), (84, 213), (98, 207), (108, 222), (128, 229)]
    outline = spline(np.array(left + [(256 - x, y) for x, y in left[-2::-1]], np.float64)) + move
    cover = polygon_mask(outline, IMAGE_AREA, blur=0.6)
    x = (np.arange(SIZE) - 128) / 128
    side = 1 - 0.3 * np.abs(x) ** 1.5 + 0.12 * looks.light * x
    layer[..., :3] = np.array(looks.shirt, np.float32) * side[None, :, None]
    collar = spline(np.array([(97, 207), (108, 223), (128, 231), (148, 223), (159, 207)], np.float64)) + move
    paint(layer, ribbon(collar, np.full(len(collar), 6.0)), shade(looks.shirt, 0.75), blur=0.8)
    layer[..., :3] *= cover[..., None]
    layer[..., 3] = cover * 255
    return np.clip(layer, 0, 255).astype(np.uint8)


def _paint_paper(image: Image, scene: Scene, covered: float) -> None:
    top = 262 - 212 * covered
    corners = np.array([(62.0, top + 6), (188.0, top), (194.0, top + 178), (68.0, top + 184)])
    offset = np.array([scene.shift[0], 0.0])
    sheet: Points = corners + offset
    paint(image, sheet + np.array([3.0, 4.0]), (60, 52, 50), opacity=0.35, blur=4.0)
    blend(image, IMAGE_AREA, (240, 238, 232), polygon_mask(sheet, IMAGE_AREA))
    for line in range(1, 9):
        ends = np.array([(80.0, top + 6 + 18 * line), (172.0 - 14 * (line % 3), top + 2 + 18 * line)])
        paint(image, ribbon(ends + offset, np.full(2, 3.0)), (150, 152, 160), opacity=0.8)
