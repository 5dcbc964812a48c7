"""Detectors on HD clips against face-alignment, frame by frame, with the same weights and one thread each."""

import importlib
import os
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, ratio, single
from pipeline.base.provenance import ROOT
from pipeline.faces.contract import Boxes, Frames
from pipeline.faces.crops import FacesConfig, detect, shrink_for_detection
from pipeline.faces.networks import single_thread_session
from pipeline.faces.tracks import overlap
from pipeline.media.frames import SampledFrames

SHARED = Path(os.environ.get("FDAN_SHARED") or ROOT.parent / "shared")  # real clips and weights, if available
WEIGHTS = {  # file names in the folder `weights`
    "blazeface": "blazeface.pth",
    "blazeface_back": "blazefaceback.pth",
    "retinaface": "retinaface_mobilenet0.25_Final_orig.pth",
    "scrfd": "scrfd_500m_bnkps.onnx",
    "yunet": "face_detection_yunet_2023mar.onnx",
}
MODULES = {"blazeface_back": ("blazeface", {"back_model": True})}
SIZE_PX = (1280, 720)  # a camera's resolution: the clips of 480 x 360 are doubled and padded
RUNS = 3


def face_alignment(name: str, weights: str) -> Any:
    """Return face-alignment's detector of this name."""
    module, options = MODULES.get(name, (name, {}))
    anchors = Path(weights).with_name("anchorsback.npy" if options else "anchors.npy")
    more = {"path_to_anchor": str(anchors)} if module == "blazeface" else {}
    library = importlib.import_module(f"face_alignment.detection.{module}")
    detector = library.FaceDetector(device="cpu", path_to_detector=weights, **options, **more)
    if name == "scrfd":  # on one thread, like the others
        detector.session = single_thread_session(weights)
    return detector


def boxes_of(detector: Any, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the boxes (n, 5) that face-alignment detects in one frame."""
    rows = [np.asarray(row) for row in detector.detect_from_image(frame) if len(row)]
    return np.asarray(rows, np.float32).reshape(-1, 5)


def measure() -> list[Figure]:
    """Return, for each detector, its speed relative to face-alignment and how often the boxes agree."""
    figures = []
    for name, file in WEIGHTS.items():
        weights = SHARED / "weights" / file
        clips = sorted((SHARED / "clips").glob("*.flv"))
        if not weights.exists() or not clips:
            continue
        config = FacesConfig(detector=name, weights=str(weights))
        detector = face_alignment(name, str(weights))
        videos = [_enlarged(path, config.frames_per_clip) for path in clips]
        figures += [_speed(name, videos, config, detector), _agreement(name, videos, config, detector)]
    return figures


def _enlarged(path: Path, count: int) -> Frames:
    frames = np.stack([frame for _, frame in SampledFrames(path, count=count)])
    height, width = (2 * side for side in frames.shape[1:3])
    margin = (SIZE_PX[0] - width) // 2
    large = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC) for frame in frames]
    return np.asarray([cv2.copyMakeBorder(it, 0, 0, margin, margin, cv2.BORDER_REPLICATE) for it in large], np.uint8)


def _detect(video: Frames, config: FacesConfig) -> list[Boxes]:
    return detect(np.stack([shrink_for_detection(frame, config) for frame in video]), config, size_px=SIZE_PX)


def _speed(name: str, videos: list[Frames], config: FacesConfig, detector: Any) -> Figure:
    return ratio(
        f"{name}, clips of {SIZE_PX[0]} x {SIZE_PX[1]}",
        lambda: [boxes_of(detector, frame) for video in videos for frame in video],
        lambda: [_detect(video, config) for video in videos],
        against="face-alignment, frame by frame",
        target=">= 1.5",
        runs=RUNS,
    )


def _agreement(name: str, videos: list[Frames], config: FacesConfig, detector: Any) -> Figure:
    agreements = []
    for video in videos:
        for frame, boxes in zip(video, _detect(video, config), strict=True):
            reference_boxes = boxes_of(detector, frame)
            if len(boxes) and len(reference_boxes):
                best = boxes[boxes[:, 4].argmax()]
                nearest = max(reference_boxes, key=partial(overlap, best))
                agreements.append(overlap(best, nearest) >= 0.9)
    value = 100 * float(np.mean(agreements)) if agreements else 0.0
    frames = f"{len(agreements)} frames"
    return single(f"{name}, boxes that agree (IoU >= 0.9)", value, "%", against=frames, target=">= 95 %")
