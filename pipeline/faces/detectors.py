"""Where faces are: detectors behind one contract.

A detector is a function of a batch of frames (B, H, W, 3) RGB uint8; it returns B arrays (n, 5) float32 of boxes
x1, y1, x2, y2, score in pixels, n may be 0. One that sees the eyes too returns (n, 9), with x, y of the left and of the
right one as the picture shows them. A table entry is a builder: called once a process with the section's configuration,
it returns the detector. A detector that looks boxes up instead of looking at pixels is a `Lookup`.

Most networks are those of face-alignment. Its detector classes alone are used: the class `FaceAlignment` would load
landmark weights, compile, and change global settings of cuDNN.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from pipeline.base.files import file_sha256
from pipeline.base.registry import lookup
from pipeline.faces.contract import Boxes, Detector, DetectorConfig, Frames, Lookup, as_boxes
from pipeline.faces.networks import blazeface, retinaface, scrfd, sfd, weight_files, yunet
from pipeline.faces.precomputed import Tables


def weights_digest(config: DetectorConfig) -> str:
    """Return the sha256 of all that the detector reads; empty where it reads nothing."""
    if config.boxes:
        return Tables(Path(config.boxes), config.min_score).digest()
    files = weight_files(config)
    return file_sha256(*files) if files else ""


@cache
def load_detector(config: DetectorConfig) -> Detector | Lookup:
    """Return the detector, built once a process."""
    detector: Detector | Lookup = lookup(DETECTORS, config.detector, "detector")(config)
    return detector


def cascade(config: DetectorConfig) -> Detector:
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
            as_boxes([(box["c"], box["r"], box["c"] + box["width"], box["r"] + box["height"], 1) for box in boxes])
            for boxes in found
        ]

    return detect


def precomputed(config: DetectorConfig) -> Lookup:
    """Boxes that OpenFace or py-feat has found."""
    return Tables(Path(config.boxes), config.min_score)


DETECTORS: dict[str, Callable[[DetectorConfig], Detector | Lookup]] = {
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
