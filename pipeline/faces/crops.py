"""Whose face, where: the person of a clip followed through its frames, and the crops that a backbone will see."""

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.base.errors import ClipError, ExcludedClipError, ParameterError
from pipeline.base.files import file_sha256
from pipeline.faces import detectors, landmarks
from pipeline.faces.contract import Boxes, DetectorConfig, Frames, Lookup
from pipeline.faces.detectors import load_detector
from pipeline.faces.tracks import WHOLE_FRAME, Track, track_person
from pipeline.media.frames import encode_jpeg, read_frames

LIBRARIES = (
    "av",
    "face-alignment",
    "numpy",
    "onnxruntime",
    "opencv-python",
    "pandas",
    "scikit-image",
    "torch",
    "torchvision",
)
SMALLEST_SIDE_PX = 16
NO_FACES: dict[str, NDArray[Any]] = {
    "times": np.empty(0, np.float32),  # seconds
    "boxes": np.empty((0, 5), np.float32),  # x1, y1, x2, y2 in pixels of the frame, score
    "found": np.empty(0, np.int32),  # how many faces the frame shows
    "sources": np.empty(0, np.uint8),  # 0 detected, 1 filled from its neighbours in time, 2 the whole frame
    "angles": np.empty(0, np.float32),  # degrees by which the crop is turned, so that the eyes are level
    "crops": np.empty(0, np.uint8),  # JPEG files, size_px square, one after the other
    "crops_lengths": np.empty(0, np.int64),  # bytes of each
}


class FacesConfig(DetectorConfig):
    """The section `faces`."""

    detect_max_side_px: int = Field(640, ge=32)
    """Faces are detected on a copy of the frame whose longer side has at most this many pixels."""
    frames_per_clip: int = Field(16, ge=1)
    """Frames taken from each clip, at equal distances."""
    fill_gaps: int = Field(2, ge=0)
    """Frames without the face that are filled from the neighbouring frames."""
    no_face: Literal["drop_visual", "exclude", "whole_frame"] = "drop_visual"
    """What happens to a clip without any face: keep its sound, leave it out, or use whole frames."""
    align: Literal["none", "eyes", "fan"] = "none"
    """Turn each crop until the eyes are level: by the detector's eyes, or by the landmark network FAN."""
    landmark_weights: str = ""
    """FAN's weight file; empty: the published weights, fetched once."""
    margin: float = Field(0.25, ge=0)
    """Added on each side of the box, as a share of its longer side."""
    size_px: int = Field(224, ge=16)
    """Side of the square crops."""


def weights_digest(config: FacesConfig) -> str:
    """Return the sha256 of all that is read beside the media; empty where nothing is."""
    read = [detectors.weights_digest(config)]
    if config.align == "fan":
        read.append(file_sha256(landmarks.weight_file(config.landmark_weights)))
    return " ".join(filter(None, read))


def extract_faces(path: Path, config: FacesConfig) -> dict[str, NDArray[Any]]:
    """Return one clip's columns (see `NO_FACES`) of the frames that show the person whom the clip is about."""
    frames, times = read_frames(path, count=config.frames_per_clip)
    height, width = frames.shape[1:3]
    detector = load_detector(_of_detector(config))
    detected = detector.boxes(path, times) if isinstance(detector, Lookup) else detect(frames, config)
    track = track_person(detected, width_px=width, height_px=height, gap=config.fill_gaps)
    margin = config.margin
    if not len(track.frames):
        if config.no_face == "exclude":
            raise ExcludedClipError("shows no face, and faces.no_face is exclude")
        if config.no_face == "drop_visual":
            return NO_FACES
        track, margin = _whole(len(frames), width, height), 0.0
    angles = _tilts(track, frames[track.frames], config)
    files = [
        encode_jpeg(crop(frames[index], box, margin=margin, size_px=config.size_px, angle=angle))
        for index, box, angle in zip(track.frames, track.boxes, angles, strict=True)
    ]
    return {
        "times": times[track.frames],
        "boxes": track.boxes[:, :5],
        "found": np.asarray([len(detected[index]) for index in track.frames], np.int32),
        "sources": track.sources,
        "angles": angles,
        "crops": np.concatenate(files),
        "crops_lengths": np.asarray([len(file) for file in files], np.int64),
    }


def detect(frames: Frames, config: FacesConfig) -> list[Boxes]:
    """Return the boxes (n, 5) of each frame, in pixels of the frame; they are looked for on a smaller copy."""
    height, width = frames.shape[1:3]
    if min(height, width) < SMALLEST_SIDE_PX:
        raise ClipError(f"its picture of {width} x {height} pixels is too small for a face")
    scale = config.detect_max_side_px / max(height, width)
    small = frames
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.stack([np.asarray(cv2.resize(it, size, interpolation=cv2.INTER_AREA), np.uint8) for it in frames])
    detector = load_detector(_of_detector(config))
    if isinstance(detector, Lookup):
        raise TypeError(f"{config.detector} looks up boxes; it cannot look at frames")
    x, y = width / small.shape[2], height / small.shape[1]
    back = np.asarray((x, y, x, y, 1, x, y, x, y), np.float32)
    return [boxes * back[: boxes.shape[1]] for boxes in detector(small)]


def _of_detector(config: FacesConfig) -> DetectorConfig:
    """Return what concerns the detector, so that one is built for it and not for every margin of a crop."""
    return DetectorConfig(**config.model_dump(include=set(DetectorConfig.model_fields)))


def _tilts(track: Track, frames: Frames, config: FacesConfig) -> NDArray[np.float32]:
    """Return the angles (n,) in degrees, clockwise in the picture, of the line from eye to eye in the n frames."""
    if config.align == "none" or (track.sources == WHOLE_FRAME).all():
        return np.zeros(len(track.boxes), np.float32)
    if config.align == "fan":
        weights = landmarks.weight_file(config.landmark_weights)
        eyes = landmarks.find_eyes(frames, track.boxes, detector=config.detector, weights=weights)
    elif track.boxes.shape[1] < 9:
        raise ParameterError(
            f"faces.align: eyes needs a detector that sees them; {config.detector} does not: "
            "blazeface, blazeface_back, precomputed, retinaface and yunet do; fan works with any"
        )
    else:
        eyes = track.boxes[:, 5:9]
    across = eyes[:, 2:] - eyes[:, :2]
    return np.degrees(np.arctan2(across[:, 1], across[:, 0])).astype(np.float32)


def _whole(count: int, width: int, height: int) -> Track:
    boxes = np.tile(np.asarray((0, 0, width, height, 0), np.float32), (count, 1))
    return Track(np.arange(count), boxes, np.full(count, WHOLE_FRAME, np.uint8))


def crop(frame: Frames, box: NDArray[np.float32], *, margin: float, size_px: int, angle: float = 0) -> Frames:
    """Return the square (size_px, size_px, 3) around the box; what lies outside the frame repeats its edge.

    What runs at `angle` degrees through the frame, clockwise, is level in the crop.
    """
    x1, y1, x2, y2 = box[:4]
    scale = size_px / (max(x2 - x1, y2 - y1) * (1 + 2 * margin))
    cosine, sine = np.cos(np.radians(angle)) * scale, np.sin(np.radians(angle)) * scale
    turn = np.asarray([[cosine, sine], [-sine, cosine]])
    # The box's centre becomes the crop's; pixel centres lie at half-integers.
    shift = size_px / 2 - 0.5 + turn @ (0.5 - np.asarray([x1 + x2, y1 + y2]) / 2)
    matrix = np.column_stack([turn, shift])
    if scale < 1:  # shrink by averaging first, or fine detail would alias
        frame = np.asarray(cv2.blur(frame, (max(1, round(1 / scale)),) * 2), np.uint8)
    image = cv2.warpAffine(frame, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(image, np.uint8)
