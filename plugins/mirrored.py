"""A face detector made of an existing one: where it finds no face, it also looks at the mirrored frame.

In params.yaml: `faces: {detector: "mirrored:build"}`.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np

from fdan import DETECTORS, Boxes, Detector, DetectorConfig, Frames


def build(config: DetectorConfig) -> Detector:
    """Return the detector: frames (B, H, W, 3) RGB uint8 to B arrays (n, 5) of x1, y1, x2, y2, score."""
    detect_upright = cast(Detector, DETECTORS["cascade"](config))

    def detect(frames: Frames) -> Sequence[Boxes]:
        detected = list(detect_upright(frames))
        without_face = [index for index, boxes in enumerate(detected) if not len(boxes)]
        if without_face:
            mirrored = detect_upright(np.ascontiguousarray(frames[without_face, :, ::-1]))
            for index, boxes in zip(without_face, mirrored, strict=True):
                detected[index] = _mirror_boxes(boxes, frames.shape[2])
        return detected

    return detect


def _mirror_boxes(boxes: Boxes, width: int) -> Boxes:
    """Return boxes (n, 5) of a mirrored frame in the coordinates of the original frame: left and right swap."""
    left, top, right, bottom, score = boxes.T
    return np.stack([width - right, top, width - left, bottom, score], 1)
