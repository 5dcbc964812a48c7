"""What a training run is made of: its recipe, its losses, what a head says, what comes of it."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from data_manifest.protocols import ProtocolConfig
from pipeline.dataset import Examples
from pipeline.heads import HEADS, Head, HeadConfig, HeadOutput, Shapes, fuse
from pipeline.losses import Alignment, AlignmentConfig
from pipeline.params import Config
from pipeline.registry import lookup


class TrainConfig(Config):
    """The section `train`."""

    epochs: int = Field(40, ge=1)
    batch_size: int = Field(32, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    warmup: float = Field(0.1, ge=0, lt=1)  # the share of the steps over which the learning rate grows
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    gradient_norm: float = Field(1.0, gt=0)  # gradients are scaled down to this
    seeds: tuple[int, ...] = Field((0,), min_length=1)


@dataclass(frozen=True)
class Recipe:
    """All that shapes a training run, but for the data and the seed."""

    head: HeadConfig
    alignment: AlignmentConfig
    train: TrainConfig


Protocols = dict[str, ProtocolConfig]


@dataclass(frozen=True)
class Epoch:
    """One row of the curves; losses are means over the epoch's batches."""

    epoch: int
    cross_entropy: float
    alignment: float
    validation_uar: float  # nan where nothing validates: the refit on all clips


@dataclass(frozen=True)
class Trained:
    """A head at its best epoch, and how it came there."""

    head: Head
    curve: list[Epoch]
    best_epoch: int


def build_head(config: HeadConfig, examples: Examples, classes: int) -> Head:
    """Return an untrained head that fits the examples."""
    shapes = Shapes(examples.visual.values.shape[-1], examples.acoustic.values.shape[-1], classes)
    head: Head = lookup(HEADS, config.name, "head")(config, shapes)
    return head


def classification_loss(output: HeadOutput, batch: Examples, *, smoothing: Tensor | float) -> Tensor:
    """Return CE_v + CE_a, each over the clips that have the modality, and that of the fusion where the head has one."""
    seen, heard = batch.visual.present, batch.acoustic.present
    parts = []
    for logits, known in ((output.visual, seen), (output.acoustic, heard), (output.fused, seen | heard)):
        if logits is not None:
            surprise = -logits.log_softmax(-1)
            own = surprise.gather(1, batch.labels[:, None])[:, 0]
            each = (1 - smoothing) * own + smoothing * surprise.mean(1)
            present = known.to(each.dtype)
            parts.append((each * present).sum() / present.sum().clamp(min=1))
    return torch.stack(parts).sum()


def alignment_losses(output: HeadOutput, batch: Examples, align: Alignment) -> Tensor:
    """Return for each layer the distance between both modalities, (layers,); a missing one takes no part."""
    if output.visual is None or not output.visual_layers:
        return batch.visual.values.new_zeros(0)
    classes = torch.arange(output.visual.shape[1], device=batch.labels.device)
    truth = (batch.labels[:, None] == classes).to(output.visual.dtype)
    seen, heard = (truth * tokens.present[:, None] for tokens in (batch.visual, batch.acoustic))
    distances = [
        align(visual, acoustic, seen, heard)
        for visual, acoustic in zip(output.visual_layers, output.acoustic_layers, strict=True)
    ]
    return torch.stack(distances)


@torch.inference_mode()
def predict(head: Head, examples: Examples) -> dict[str, Tensor]:
    """Return probabilities (n, C) by `visual`, `acoustic` and `fused`; nan where a clip lacks the modality."""
    head.eval()
    output = head(examples.visual, examples.acoustic)
    fused = fused_probabilities(output, examples.visual.present, examples.acoustic.present)
    present = {"visual": examples.visual.present, "acoustic": examples.acoustic.present}
    alone = {
        name: torch.full_like(fused, math.nan)
        if logits is None
        else logits.softmax(-1).masked_fill(~present[name][:, None], math.nan)
        for name, logits in (("visual", output.visual), ("acoustic", output.acoustic))
    }
    return alone | {"fused": fused}


def fused_probabilities(output: HeadOutput, seen: Tensor, heard: Tensor) -> Tensor:
    """Return the head's own fusion, or the mean of the log-probabilities of what a clip has (B,): (B, C)."""
    if output.fused is not None:
        return output.fused.softmax(-1)
    logits = {"visual": output.visual, "acoustic": output.acoustic}
    known = {name: values for name, values in logits.items() if values is not None}
    return fuse(known, {"visual": seen, "acoustic": heard}).exp()


def uar(probabilities: Tensor, labels: Tensor) -> float:
    """Return the unweighted average recall over the classes that occur among the labels."""
    right = (probabilities.argmax(1) == labels).to(torch.float64)
    return float(torch.stack([right[labels == label].mean() for label in labels.unique()]).mean())


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as JSON-like data."""
    return {name: getattr(recipe, name).model_dump(mode="json") for name in ("head", "alignment", "train")}
