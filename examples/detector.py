"""A detector of one's own, made of one that is there: where it finds no face, it looks at the mirrored frame, too.

In params.yaml: `faces: {detector: "examples.detector:build"}`.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.faces import detectors
from pipeline.faces.contract import Boxes, Detector, DetectorConfig, Frames


def build(config: DetectorConfig) -> Detector:
    """Return the detector: frames (B, H, W, 3) RGB uint8 to B arrays (n, 5) of x1, y1, x2, y2, score."""
    look = detectors.cascade(config)

    def detect(frames: Frames) -> Sequence[Boxes]:
        found = list(look(frames))
        without = [index for index, boxes in enumerate(found) if not len(boxes)]
        if without:
            again = look(np.ascontiguousarray(frames[without, :, ::-1]))
            for index, boxes in zip(without, again, strict=True):
                found[index] = _mirrored(boxes, frames.shape[2])
        return found

    return detect


def _mirrored(boxes: Boxes, width: int) -> Boxes:
    """Return boxes (n, 5) of a mirrored frame as they lie in the frame itself: left and right change places."""
    left, top, right, bottom, score = boxes.T
    return np.stack([width - right, top, width - left, bottom, score], 1)
