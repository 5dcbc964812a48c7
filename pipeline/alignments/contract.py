"""The contract of alignments, and their configuration.

An alignment takes two feature batches (n, D) and (m, D) and their class weights (n, C) and (m, C), and returns a
scalar, which training minimises. It ignores rows whose class weights are all 0: clips without the modality.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor

from pipeline.base.options import NO_OPTIONS, FrozenMapping, Options, OptionsConfig, check_options
from pipeline.base.registry import check_name

Alignment = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A function of features (n, D), (m, D) and class weights (n, C), (m, C) that returns a scalar."""

Weight = Annotated[float, Field(ge=-1_000_000, le=1_000_000)]
MAX_BANDWIDTHS = 1e15  # between the kernel in the middle and the widest: float32 holds no more beyond 1e38


class AlignmentConfig(OptionsConfig):
    """The section `alignment`."""

    name: str = "lmmd"
    """The distance between the features of the two modalities."""
    weight: float = Field(0.1, ge=0, le=1_000_000)
    """Weight of the alignment in the loss."""
    unit: Literal["absolute", "initial"] = "initial"
    """What the weight multiplies: the distance (`absolute`), or its ratio to that of the same layer before training
    (`initial`), so that one weight is equally strong for any alignment."""
    gamma: float = Field(10.0, ge=0, le=1_000_000)
    """How fast the weight grows to its full size during training."""
    kernel_mul: float = Field(2.0, gt=1, le=100)
    """Ratio of the bandwidths of neighbouring kernels."""
    kernel_num: int = Field(5, ge=1, le=100)
    """Number of Gaussian kernels."""
    normalise: Literal["common", "all"] = "common"
    """Divide by the number of classes that occur on both sides (`common`), or by the number of `all` classes."""
    visual_labels: Literal["given", "predicted"] = "given"
    """Labels of the visual features in the alignment: the true ones, or the head's current probabilities."""
    acoustic_labels: Literal["given", "predicted"] = "given"
    """The same for the acoustic features."""
    layer_weights: tuple[Weight, ...] = Field((), max_length=100)
    """One weight per aligned layer; empty: each layer counts 1."""
    options: Options = NO_OPTIONS
    """Parameters of an alignment of your own; see [Options](swap.md#options)."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        from pipeline.alignments.table import ALIGNMENTS  # each entry imports this module

        return check_name(ALIGNMENTS, value, "alignment")

    @field_validator("options")
    @classmethod
    def _check_options(cls, value: FrozenMapping, info: ValidationInfo) -> FrozenMapping:
        from pipeline.alignments.table import ALIGNMENTS

        return check_options(value, ALIGNMENTS, info.data.get("name"), "alignment")

    @model_validator(mode="after")
    def _check_bandwidths(self) -> "AlignmentConfig":
        if self.kernel_mul ** (self.kernel_num // 2) > MAX_BANDWIDTHS:
            raise ValueError(f"kernel_mul ** (kernel_num // 2) may be at most {MAX_BANDWIDTHS:g}; use fewer kernels")
        return self


def sample_mask(probs: Tensor) -> Tensor:
    """Return 1 for each row with a class weight, 0 for the others: (n,)."""
    return (probs.sum(1) > 0).to(probs.dtype)
