"""The recipe of a training run, and its result."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.builders import build
from pipeline.base.params import Config, Seed
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.table import HEADS
from pipeline.training._epoch import Epoch

MAX_MEMBERS = 100  # of an ensemble


class TrainConfig(Config):
    """The section `train`."""

    epochs: int = Field(30, ge=1, le=100_000)
    """Passes over the training part."""
    batch_size: int = Field(32, ge=2, le=16_384)
    """Clips per step."""
    learning_rate: float = Field(2e-3, gt=0, le=1000)
    """Highest learning rate of AdamW."""
    weight_decay: float = Field(0.05, ge=0, le=1000)
    """Weight decay of AdamW."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate grows; it then falls along a cosine."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of each label that is spread over all classes."""
    gradient_norm: float = Field(1.0, gt=0, le=1_000_000_000)
    """Gradients with a larger norm are scaled down to it."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: every class has the same total weight, however rare it is."""
    modality_dropout: float = Field(0.3, ge=0, lt=1)
    """Share of the clips that lose one of two modalities at a step."""
    speaker_normalisation: Literal["none", "unlabelled"] = "none"
    """`unlabelled`: all clips of a speaker, also of a test speaker, standardise their tokens, without labels. It is
    transductive, and needs several clips of a speaker."""
    ensemble: int = Field(3, ge=1, le=MAX_MEMBERS)
    """Members of a head: the mean of their log-probabilities answers. Heads without gradients have a single one."""
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, max_length=1000)
    """One head is trained per fold and seed."""


@dataclass(frozen=True)
class Recipe:
    """All settings of a training run but the seed."""

    head: HeadConfig
    alignment: AlignmentConfig
    train: TrainConfig

    @property
    def builders(self) -> tuple[str, str]:
        """The names of the head and of the alignment: built in, or `package.module:function`."""
        return self.head.name, self.alignment.name


@dataclass(frozen=True)
class Trained:
    """The head of a run, trained on its training and validation parts together.

    The rest comes from the same procedure on the training part alone: the curve, and the answers for the validation
    part, out of sample: probabilities (n, C) by answer, and their UAR. Without a validation part there are none, and
    the curve is that of the head. `note` says why replicas were trained one by one, if they were.
    """

    head: Head
    curve: list[Epoch]
    validation: dict[str, Tensor]
    validation_uar: float
    note: str = ""


def build_head(config: HeadConfig, examples: Examples, classes: int) -> Head:
    """Return an untrained head for the shapes of the examples."""
    shapes = Shapes(examples.visual.width, examples.acoustic.width, classes)
    head: Head = build(HEADS, config.name, "head", config, shapes, expected=Head)
    return head


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as JSON-like data."""
    return {name: getattr(recipe, name).model_dump(mode="json") for name in ("head", "alignment", "train")}
