"""The contract of alignments, and their configuration.

An alignment takes two feature batches (n, D) and (m, D) and their class weights (n, C) and (m, C), and returns a
scalar, which training minimises. It ignores rows whose class weights are all 0: clips without the modality.
"""

from collections.abc import Callable
from typing import Literal

from pydantic import Field, field_validator
from torch import Tensor

from pipeline.base.params import Config
from pipeline.base.registry import check_name

Alignment = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class AlignmentConfig(Config):
    """The section `alignment`."""

    name: str = "lmmd"
    weight: float = Field(0.1, ge=0)
    gamma: float = Field(10.0, ge=0)  # how fast the weight grows during training; see `schedule.py`
    kernel_mul: float = Field(2.0, gt=1)
    kernel_num: int = Field(5, ge=1)
    normalise: Literal["common", "all"] = "common"
    visual_labels: Literal["given", "predicted"] = "given"  # predicted: the head's current probabilities
    acoustic_labels: Literal["given", "predicted"] = "given"
    layer_weights: tuple[float, ...] = ()  # one for each aligned layer; empty: each counts 1

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        from pipeline.alignments.table import ALIGNMENTS  # each entry imports this module

        return check_name(ALIGNMENTS, value, "alignment")


def sample_mask(probs: Tensor) -> Tensor:
    """Return 1 for each row with a class weight, 0 for the others: (n,)."""
    return (probs.sum(1) > 0).to(probs.dtype)
