"""Face crops: a clip's person is followed through its frames and cropped for the backbone; the section `faces`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.base.errors import AbsentModalityError, ClipError, ExcludedClipError, ParameterError
from pipeline.base.files import file_sha256
from pipeline.faces import detectors, landmarks
from pipeline.faces._speaking import speech_scores
from pipeline.faces.checks import check_boxes
from pipeline.faces.contract import Boxes, BoxSource, DetectorConfig, Frames
from pipeline.faces.detectors import load_detector
from pipeline.faces.tracks import (
    WHOLE_FRAME,
    Track,
    choose_face,
    find_cuts,
    follow_face,
    importance,
    link_faces,
)
from pipeline.media.files import ClipFiles
from pipeline.media.frames import Frame, SampledFrames, encode_jpeg, is_one_colour, shrink_image
from pipeline.media.limits import DEFAULT_LIMITS, Limits
from pipeline.store.clips import ClipFaces
from pipeline.store.columns import Ragged

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
LONGEST_SIDE_PX = 2**15 - 2  # OpenCV counts the pixels of a side with 16 bits
MOST_PIXELS = 256_000_000  # of the copies of one clip on which faces are detected; the default settings need 7 million
LARGEST_BOX = 1.5  # times the longer side of the frame
T = TypeVar("T")


class FacesConfig(DetectorConfig):
    """The section `faces`."""

    detect_max_side_px: int = Field(640, ge=32, le=8192)
    """Faces are detected on a copy of the frame whose longer side has at most this many pixels."""
    frames_per_clip: int = Field(16, ge=1, le=10_000)
    """Frames taken from each clip, at equal distances."""
    fill_gaps: int = Field(2, ge=0, le=10_000)
    """Gaps of up to this many frames without the face, between two frames with it, are filled; not across a cut."""
    person: Literal["largest", "longest", "moving_mouth"] = "largest"
    """Whose face is taken of several: the largest and most central one, the one that is seen longest, or the one whose
    mouth moves with the clip's sound."""
    no_face: Literal["drop_visual", "exclude", "whole_frame"] = "drop_visual"
    """What happens to a clip without any face: keep its audio, leave it out, or use whole frames."""
    align: Literal["none", "eyes", "fan"] = "none"
    """Turn each crop until the eyes are level: by the detector's eyes, or by the landmark network FAN."""
    landmark_weights: str = ""
    """FAN's weight file; empty: the published weights, fetched once."""
    margin: float = Field(0.25, ge=0, le=10)
    """Added on each side of the box, as a share of its longer side."""
    size_px: int = Field(224, ge=16, le=2048)
    """Side of the square crops."""

    @model_validator(mode="after")
    def _check_pixels(self) -> "FacesConfig":
        pixels = self.frames_per_clip * max(self.detect_max_side_px, self.size_px) ** 2
        if pixels > MOST_PIXELS:
            raise ValueError(
                f"a clip has up to {pixels / 1e6:.0f} million pixels, more than {MOST_PIXELS / 1e6:.0f}; "
                "take less of frames_per_clip, detect_max_side_px or size_px"
            )
        return self


def weights_digest(config: FacesConfig) -> str:
    """Return the sha256 of all files that are read besides the media; empty if there are none."""
    digests = [detectors.weights_digest(config)]
    if config.align == "fan":
        digests.append(file_sha256(landmarks.weight_file(config.landmark_weights)))
    return " ".join(filter(None, digests))


class Detections(NamedTuple):
    """The faces in the sampled frames of a clip that could be decoded, n frames in order of time."""

    indices: NDArray[np.int64]  # (n,) among the sampled frames
    boxes: Sequence[Boxes]  # n of them, in pixels of the frame
    cuts: NDArray[np.bool_]  # (n - 1,); see `find_cuts`
    width_px: int
    height_px: int


def extract_clip_faces(files: ClipFiles, config: FacesConfig, *, limits: Limits) -> ClipFaces:
    """Return the faces of a clip whose sound may be in a separate file."""
    return extract_faces(files.video, config, audio=files.audio, limits=limits)


def extract_faces(
    path: Path, config: FacesConfig, *, audio: Path | None = None, limits: Limits = DEFAULT_LIMITS
) -> ClipFaces:
    """Return the frames of a media file that show the person whom the clip is about.

    `audio` is the file with the sound that `moving_mouth` listens to; by default, the video's own.

    Frames are decoded, shrunk for detection and cropped one at a time. Raise ClipError if the media cannot be used,
    AbsentModalityError if it shows no face, ExcludedClipError if the configuration excludes such clips.
    """
    frames = SampledFrames(path, count=config.frames_per_clip, limits=limits)
    found = _detect_in(frames, path, config)
    faces = link_faces(found.boxes, gap=config.fill_gaps)
    lead, margin = np.nan, config.margin
    if faces:
        important = np.asarray([importance(face, found.width_px, found.height_px) for face in faces])
        scores = important
        if config.person == "longest":
            scores = np.asarray([len(face) for face in faces], np.float64)
        elif config.person == "moving_mouth" and len(faces) > 1:
            scores = speech_scores(path, faces, frames.times[found.indices], limits, audio=audio or path)
        number, lead = choose_face(scores, important)
        track = follow_face(faces[number], found.cuts)
    else:
        if config.no_face == "exclude":
            raise ExcludedClipError("shows no face, and faces.no_face is exclude")
        if config.no_face == "drop_visual":
            raise AbsentModalityError("no face was found")
        track, margin = _whole_frames(len(found.indices), found.width_px, found.height_px), 0.0
    rows = {index: row for row, index in enumerate(found.indices[track.frames].tolist())}
    angles = _eye_angles(track, frames, rows, config)

    def encode_crop(frame: Frame, row: int) -> NDArray[np.uint8]:
        return encode_jpeg(crop(frame, track.boxes[row], margin=margin, size_px=config.size_px, angle=angles[row]))

    return ClipFaces(
        times=frames.times[found.indices][track.frames],
        boxes=track.boxes[:, :5],
        face_counts=np.asarray([len(found.boxes[frame]) for frame in track.frames], np.int32),
        sources=track.sources,
        leads=np.full(len(track.frames), lead, np.float32),
        angles=angles,
        crops=Ragged.join(_map_rows(encode_crop, frames, rows)),
    )


def _detect_in(frames: SampledFrames, path: Path, config: FacesConfig) -> Detections:
    """Return the faces in the frames; raise AbsentModalityError if nothing is to be seen in them."""
    small: dict[int, Frame] = {}
    for index, frame in frames:
        size = (frame.shape[1], frame.shape[0])
        small[index] = shrink_for_detection(frame, config)
    indices = np.asarray(sorted(small))
    images = np.stack([small[index] for index in indices.tolist()])
    if is_one_colour(images):
        raise AbsentModalityError("its picture is one colour throughout")
    detector = load_detector(_detector_config(config))
    if isinstance(detector, BoxSource):
        detected = detector.boxes(path, frames.times[indices])
        _check_boxes(detected, size)
    else:
        detected = detect(images, config, size_px=size)
    return Detections(indices, detected, find_cuts(images), *size)


def shrink_for_detection(frame: Frame, config: FacesConfig) -> Frame:
    """Return the copy of a frame (height, width, 3) in which faces are detected.

    Raise ClipError if the frame or its copy is too small for a face, or if the frame is too long for OpenCV.
    """
    height, width = frame.shape[:2]
    if max(height, width) > LONGEST_SIDE_PX:
        raise ClipError(f"its frame of {width} x {height} pixels has a side of more than {LONGEST_SIDE_PX} pixels")
    small = shrink_image(frame, max_side_px=config.detect_max_side_px)
    if min(small.shape[:2]) < SMALLEST_SIDE_PX:
        raise ClipError(f"its frame of {width} x {height} pixels is too small for a face")
    return small


def detect(frames: Frames, config: FacesConfig, *, size_px: tuple[int, int] | None = None) -> list[Boxes]:
    """Return the boxes (n, 5) or (n, 9) of each frame.

    If the frames are copies by `shrink_for_detection`, `size_px` is the width and height of the originals, whose pixels
    the boxes are in. Raise ContractError if the detector returns anything but boxes in the pixels of the frames.
    """
    height, width = frames.shape[1:3]
    detector = load_detector(_detector_config(config))
    if isinstance(detector, BoxSource):
        raise TypeError(f"{config.detector} looks up boxes; it cannot detect faces in frames")
    full_width, full_height = size_px or (width, height)
    x, y = full_width / width, full_height / height
    scales = np.asarray((x, y, x, y, 1, x, y, x, y), np.float32)
    detected = detector(frames)
    check_boxes(detected, frames, name=config.detector)
    return [boxes * scales[: boxes.shape[1]] for boxes in detected]


def _check_boxes(detected: Sequence[Boxes], size_px: tuple[int, int]) -> None:
    """Raise ClipError if a box of a table cannot be cropped."""
    rows = np.concatenate([boxes[:, :4] for boxes in detected])
    sides = rows[:, 2:] - rows[:, :2]
    if not ((sides > 0) & (sides <= LARGEST_BOX * max(size_px))).all():  # false for NaN
        raise ClipError(f"faces.boxes: a box of it is empty, not finite, or larger than its frames of {size_px} pixels")


def _detector_config(config: FacesConfig) -> DetectorConfig:
    """Return the detector's part, so that configurations that differ only in other keys share a detector."""
    return DetectorConfig(**config.model_dump(include=set(DetectorConfig.model_fields)))


def _map_rows(function: Callable[[Frame, int], T], frames: SampledFrames, rows: Mapping[int, int]) -> list[T]:
    """Return function(frame, row) for each row of a track; `rows` maps a frame's index to its row."""
    results = {rows[index]: function(frame, rows[index]) for index, frame in frames if index in rows}
    return [results[row] for row in range(len(rows))]


def _eye_angles(
    track: Track, frames: SampledFrames, rows: Mapping[int, int], config: FacesConfig
) -> NDArray[np.float32]:
    """Return the angles (n,) in degrees, clockwise in the image, of the line from eye to eye in n frames."""
    if config.align == "none" or (track.sources == WHOLE_FRAME).all():
        return np.zeros(len(track.boxes), np.float32)
    if config.align == "fan":
        placements = [landmarks.find_placement(box, detector=config.detector) for box in track.boxes]
        crops = _map_rows(lambda frame, row: landmarks.crop_for_eyes(frame, placements[row]), frames, rows)
        eyes = landmarks.find_eyes(crops, placements, weights=landmarks.weight_file(config.landmark_weights))
    elif track.boxes.shape[1] < 9:
        raise ParameterError(
            f"faces.align: eyes needs a detector that finds them; {config.detector} does not: "
            "blazeface, blazeface_back, precomputed, retinaface and yunet do; fan works with any detector"
        )
    else:
        eyes = track.boxes[:, 5:9]
    lines = eyes[:, 2:] - eyes[:, :2]
    return np.degrees(np.arctan2(lines[:, 1], lines[:, 0])).astype(np.float32)


def _whole_frames(count: int, width: int, height: int) -> Track:
    boxes = np.tile(np.asarray((0, 0, width, height, 0), np.float32), (count, 1))
    return Track(np.arange(count), boxes, np.full(count, WHOLE_FRAME, np.uint8))


def crop(frame: Frame, box: NDArray[np.float32], *, margin: float, size_px: int, angle: float = 0) -> Frame:
    """Return the square crop (size_px, size_px, 3) around the box; outside the frame, its edge is repeated.

    A line at `angle` degrees in the frame, clockwise, is level in the crop.
    """
    x1, y1, x2, y2 = box[:4]
    scale = size_px / (max(x2 - x1, y2 - y1) * (1 + 2 * margin))
    cosine, sine = np.cos(np.radians(angle)) * scale, np.sin(np.radians(angle)) * scale
    rotation = np.asarray([[cosine, sine], [-sine, cosine]])
    # The box's centre is mapped to the crop's centre; pixel centres are at half-integers.
    shift = size_px / 2 - 0.5 + rotation @ (0.5 - np.asarray([x1 + x2, y1 + y2]) / 2)
    matrix = np.column_stack([rotation, shift])
    if scale < 1:  # average before shrinking, to avoid aliasing
        frame = np.asarray(cv2.blur(frame, (max(1, round(1 / scale)),) * 2), np.uint8)
    image = cv2.warpAffine(frame, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(image, np.uint8)
