"""A face detector that looks at no pixel: for clips that are cropped to the face, it returns the middle of each frame.

In params.yaml: `faces: {detector: "detector:build", options: {share: 0.7}}`.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from fdan import Boxes, Config, Detector, DetectorConfig, Frames, takes_options


class Options(Config):
    """What `faces.options` may contain."""

    share: float = Field(0.8, gt=0, le=1)
    """Side of the box, as a share of the frame's shorter side."""


@takes_options(Options)
def build(config: DetectorConfig) -> Detector:
    """Return the detector. Each process calls this once: load a network here, not in `detect`."""
    share: float = config.options.share

    def detect(frames: Frames) -> Sequence[Boxes]:
        """Return a float32 array (n, 5) per frame: x1, y1, x2, y2 in pixels of the frame, and the score.

        Frames are (B, H, W, 3) RGB uint8. A frame without a face has an array (0, 5). A detector that also sees the
        eyes returns (n, 9), with x and y of the eye on the left of the image and of the one on the right.
        """
        height, width = frames.shape[1:3]
        side = share * min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = np.array([[left, top, left + side, top + side, 1.0]], np.float32)
        return [box for _ in frames]

    return detect
