"""Whose face, where: detectors behind one contract, and the crops that a backbone will see.

A detector is a function of a batch of frames (B, H, W, 3) RGB uint8; it returns B arrays (n, 5) float32 of boxes
x1, y1, x2, y2, score in pixels, n may be 0. A table entry is a builder: called once a process, it returns the
detector.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from pipeline.media import encode_jpeg, read_frames
from pipeline.params import Config
from pipeline.registry import check_name, lookup

Frames = NDArray[np.uint8]
Boxes = NDArray[np.float32]
Detector = Callable[[Frames], Sequence[Boxes]]

SCHEMA = "fdan.faces/1"
LIBRARIES = ("av", "numpy", "opencv-python", "scikit-image")
NO_FACES: dict[str, NDArray[Any]] = {
    "times": np.empty(0, np.float32),  # seconds
    "boxes": np.empty((0, 5), np.float32),  # x1, y1, x2, y2 in pixels of the frame, score
    "found": np.empty(0, np.int32),  # how many faces the frame shows
    "crops": np.empty(0, np.uint8),  # JPEG files, size_px square, one after the other
    "crops_lengths": np.empty(0, np.int64),  # bytes of each
}


class FacesConfig(Config):
    """The section `faces`."""

    detector: str = "cascade"
    frames_per_clip: int = Field(16, ge=1)
    margin: float = Field(0.25, ge=0)  # added on each side, as a share of the box
    size_px: int = Field(224, ge=16)

    @field_validator("detector")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_name(DETECTORS, value, "detector")


def cascade() -> Detector:
    """Local binary patterns, from scikit-image: frontal faces only, no weights needed. Its scores are all 1."""
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    classifier = Cascade(lbp_frontal_face_cascade_filename())

    def detect(frames: Frames) -> list[Boxes]:
        short = min(frames.shape[1:3])
        found = [
            classifier.detect_multi_scale(
                frame,
                scale_factor=1.2,
                step_ratio=1,
                min_size=(short // 4, short // 4),
                max_size=(short, short),
            )
            for frame in frames
        ]
        return [
            np.asarray(
                [(box["c"], box["r"], box["c"] + box["width"], box["r"] + box["height"], 1) for box in boxes],
                np.float32,
            ).reshape(-1, 5)
            for boxes in found
        ]

    return detect


DETECTORS: dict[str, Callable[[], Detector]] = {"cascade": cascade}


@cache
def load_detector(name: str) -> Detector:
    """Return the detector, built once a process."""
    detector: Detector = lookup(DETECTORS, name, "detector")()
    return detector


def extract_faces(path: Path, config: FacesConfig) -> dict[str, NDArray[Any]]:
    """Return one clip's columns (see `NO_FACES`) of the frames that show a face; in each the largest is taken."""
    frames, times = read_frames(path, count=config.frames_per_clip)
    detected = load_detector(config.detector)(frames)
    shown = [index for index, boxes in enumerate(detected) if len(boxes)]
    if not shown:
        return NO_FACES
    boxes = np.stack([largest(detected[index]) for index in shown])
    files = [
        encode_jpeg(crop(frames[index], box, margin=config.margin, size_px=config.size_px))
        for index, box in zip(shown, boxes, strict=True)
    ]
    return {
        "times": times[shown],
        "boxes": boxes,
        "found": np.asarray([len(detected[index]) for index in shown], np.int32),
        "crops": np.concatenate(files),
        "crops_lengths": np.asarray([len(file) for file in files], np.int64),
    }


def largest(boxes: Boxes) -> NDArray[np.float32]:
    """Return the box (5,) of the largest face of a frame."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    chosen: NDArray[np.float32] = boxes[areas.argmax()]
    return chosen


def crop(frame: Frames, box: NDArray[np.float32], *, margin: float, size_px: int) -> Frames:
    """Return the square (size_px, size_px, 3) around the box; what lies outside the frame repeats its edge."""
    x1, y1, x2, y2 = box[:4]
    half = max(x2 - x1, y2 - y1) * (0.5 + margin)
    scale = size_px / (2 * half)
    # Pixel centres lie at half-integers: the affine map takes the box's corner to -0.5, not to 0.
    left, top = (x1 + x2) / 2 - half, (y1 + y2) / 2 - half
    shift = scale / 2 - 0.5
    matrix = np.asarray([[scale, 0, shift - left * scale], [0, scale, shift - top * scale]])
    enlarging = scale > 1
    if not enlarging:  # shrink by averaging first, or fine detail would alias
        frame = np.asarray(cv2.blur(frame, (max(1, round(1 / scale)),) * 2), np.uint8)
    image = cv2.warpAffine(frame, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(image, np.uint8)
