"""The table of detectors.

An entry of `DETECTORS` is a builder: called once per process with the section's configuration, it returns the detector.
"""

import logging
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from pipeline.base.builders import build
from pipeline.base.files import file_sha256
from pipeline.base.text import one_line
from pipeline.faces.contract import Boxes, BoxSource, Detector, DetectorConfig, Frames, as_boxes
from pipeline.faces.networks import blazeface, retinaface, scrfd, sfd, weight_files, yunet
from pipeline.faces.precomputed import Tables

log = logging.getLogger(__name__)


def weights_digest(config: DetectorConfig) -> str:
    """Return the sha256 of all files that the detector reads; empty if it reads none."""
    if config.boxes:
        return Tables(Path(config.boxes), config.min_score).digest()
    files = weight_files(config)
    return file_sha256(*files) if files else ""


@cache
def load_detector(config: DetectorConfig) -> Detector | BoxSource:
    """Return the detector, built once per process."""
    detector: Detector | BoxSource = build(
        DETECTORS, config.detector, "detector", config, expected=(Callable, BoxSource)
    )
    if config.detector in DETECTORS and not isinstance(detector, BoxSource):
        return partial(_detect_in_frame, detector)
    return detector


def _detect_in_frame(detector: Detector, frames: Frames) -> list[Boxes]:
    """Return the boxes that overlap the frame: a network's regression may put others beside odd frames."""
    size = (frames.shape[2], frames.shape[1])
    return [
        boxes[(boxes[:, :2] < np.minimum(boxes[:, 2:4], size)).all(1) & (boxes[:, 2:4] > 0).all(1)]
        for boxes in detector(frames)
    ]


def cascade(config: DetectorConfig) -> Detector:
    """Local binary patterns, from scikit-image: frontal faces only, without weights. All scores are 1."""
    from skimage.data import lbp_frontal_face_cascade_filename

    path = Path(lbp_frontal_face_cascade_filename())
    try:
        from pipeline.faces._cascade import FastCascade
    except (ImportError, OSError, RuntimeError) as error:  # no numba; a cache that is read-only or full
        log.warning("cascade: scikit-image's loops are used, with the same boxes, slower: %s", one_line(str(error)))
        return slow_cascade(path)
    return FastCascade(path)


def slow_cascade(path: Path) -> Detector:
    """Return scikit-image's own detector, with the cascade of an XML file."""
    from skimage.feature import Cascade

    classifier = Cascade(str(path))

    def detect(frames: Frames) -> list[Boxes]:
        short = min(frames.shape[1:3])
        detections = [
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
            as_boxes([(box["c"], box["r"], box["c"] + box["width"], box["r"] + box["height"], 1) for box in boxes])
            for boxes in detections
        ]

    return detect


def precomputed(config: DetectorConfig) -> BoxSource:
    """Boxes that OpenFace or py-feat has detected."""
    return Tables(Path(config.boxes), config.min_score)


DETECTORS: dict[str, Callable[[DetectorConfig], Detector | BoxSource]] = {
    "blazeface": blazeface,
    "blazeface_back": partial(blazeface, back=True),
    "cascade": cascade,
    "precomputed": precomputed,
    "retinaface": retinaface,
    "scrfd": scrfd,
    "sfd": sfd,
    "yunet": yunet,
}
"""Detectors by name: builders that take a `DetectorConfig`."""
