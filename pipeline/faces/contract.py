"""The detectors' contract.

A detector is a function of a batch of frames (B, H, W, 3) RGB uint8; it returns B arrays (n, 5) float32 of boxes
x1, y1, x2, y2, score in pixels, where n may be 0. One that also finds the eyes returns (n, 9), with x, y of the eye on
the left of the image and of the one on the right. A detector that reads boxes from a file is a `BoxSource`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.base.options import NO_OPTIONS, FrozenMapping, Options, OptionsConfig, check_options
from pipeline.base.registry import check_name

Frames = NDArray[np.uint8]
"""Frames (B, H, W, 3), RGB uint8."""
Boxes = NDArray[np.float32]
"""Boxes (n, 5) of one frame: x1, y1, x2, y2 in pixels and the score; (n, 9) with x, y of both eyes."""
Detector = Callable[[Frames], Sequence[Boxes]]
"""A function of `Frames` that returns B `Boxes`."""


@runtime_checkable
class BoxSource(Protocol):
    """A detector that looks up boxes by a clip's file and the times (n,) of its frames, in seconds."""

    def boxes(self, path: Path, times: NDArray[np.float32]) -> Sequence[Boxes]:
        """Return the boxes of each frame, in pixels of the full-size frame."""


class DetectorConfig(OptionsConfig):
    """The part of the section `faces` that concerns the detector."""

    detector: str = "cascade"
    """How faces are detected. Every detector but `cascade` and `precomputed` needs weights."""
    weights: str = ""
    """The detector's weight file; empty: the published weights, fetched once."""
    boxes: str = ""
    """For `precomputed`: a folder with one OpenFace or py-feat table per clip, or one table for all clips."""
    min_score: float = Field(0.5, ge=0, le=1)
    """Boxes with a lower score are dropped."""
    options: Options = NO_OPTIONS
    """Parameters of a detector of your own; see [Options](swap.md#options)."""

    @field_validator("detector")
    @classmethod
    def _check_name(cls, value: str) -> str:
        from pipeline.faces.detectors import DETECTORS  # imported late: detectors import this module

        return check_name(DETECTORS, value, "detector")

    @field_validator("options")
    @classmethod
    def _check_options(cls, value: FrozenMapping, info: ValidationInfo) -> FrozenMapping:
        from pipeline.faces.detectors import DETECTORS

        return check_options(value, DETECTORS, info.data.get("detector"), "detector")

    @model_validator(mode="after")
    def _check_boxes(self) -> "DetectorConfig":
        if (self.detector == "precomputed") != bool(self.boxes):
            raise ValueError("faces.boxes and the detector precomputed need each other: set both or neither")
        return self


def as_boxes(rows: Any) -> Boxes:
    """Return rows of x1, y1, x2, y2, score as an array (n, 5); n may be 0."""
    return np.asarray(rows, np.float32).reshape(-1, 5)
