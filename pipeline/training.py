"""What a training run is made of: its recipe, its losses, what a head says, what comes of it."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from data_manifest.protocols import ProtocolConfig
from pipeline.dataset import Examples, Tokens
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
    class_weights: Literal["none", "balanced"] = "none"  # balanced: each class counts alike, however rare
    patience: int | None = Field(None, ge=1)  # stop after so many epochs without a better UAR on validation
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
    """One row of the curves; losses are means over the epoch's batches, the alignment's unweighted, by layer."""

    epoch: int
    cross_entropy: float
    alignment: tuple[float, ...]
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


def learning_rates(config: TrainConfig, steps: int) -> Tensor:
    """Return the learning rate at every step of a training (steps,): it grows linearly, then falls along a cosine."""
    done = torch.arange(steps)
    warm = max(1, round(config.warmup * steps))
    fall = 0.5 * (1 + torch.cos(math.pi * (done - warm) / max(1, steps - warm)))
    return config.learning_rate * torch.where(done < warm, (done + 1) / warm, fall)


def class_weights(config: TrainConfig, labels: Tensor, classes: int) -> Tensor:
    """Return how much each class counts, (C,), by the labels (n,) of the training part; a class without clips, 1."""
    counts = torch.bincount(labels, minlength=classes)
    if config.class_weights == "none":
        return torch.ones(classes)
    return torch.where(counts > 0, len(labels) / ((counts > 0).sum() * counts.clamp(min=1)), 1.0)


def classification_loss(output: HeadOutput, batch: Examples, *, smoothing: Tensor | float, weights: Tensor) -> Tensor:
    """Return CE_v + CE_a, each over the clips that have the modality, and that of the fusion where the head has one.

    `weights` (C,) are the classes'; the mean is weighted by them, as `torch.nn.functional.cross_entropy` does it.
    """
    seen, heard = batch.visual.present, batch.acoustic.present
    parts = []
    for logits, known in ((output.visual, seen), (output.acoustic, heard), (output.fused, seen | heard)):
        if logits is not None:
            surprise = -logits.log_softmax(-1) * weights
            own = surprise.gather(1, batch.labels[:, None])[:, 0]
            each = (1 - smoothing) * own + smoothing * surprise.mean(1)
            present = known.to(each.dtype)
            total = (weights[batch.labels] * present).sum()
            parts.append((each * present).sum() / torch.where(total > 0, total, 1))
    return torch.stack(parts).sum()


def alignment_losses(output: HeadOutput, batch: Examples, align: Alignment, config: AlignmentConfig) -> Tensor:
    """Return for each layer the distance between both modalities, (layers,); a missing one takes no part."""
    if output.visual is None or output.acoustic is None or not output.visual_layers:
        return batch.visual.values.new_zeros(0)
    classes = torch.arange(output.visual.shape[1], device=batch.labels.device)
    truth = (batch.labels[:, None] == classes).to(output.visual.dtype)
    seen, heard = (
        (truth if labels == "given" else logits.detach().softmax(-1)) * tokens.present[:, None]
        for labels, logits, tokens in (
            (config.visual_labels, output.visual, batch.visual),
            (config.acoustic_labels, output.acoustic, batch.acoustic),
        )
    )
    distances = [
        align(visual, acoustic, seen, heard)
        for visual, acoustic in zip(output.visual_layers, output.acoustic_layers, strict=True)
    ]
    return torch.stack(distances)


@torch.inference_mode()
def predict(head: Head, examples: Examples) -> dict[str, Tensor]:
    """Return probabilities (n, C), nan where a clip lacks what they need.

    `visual` and `acoustic` are the modalities' own classifiers, which may have attended to the other modality;
    `fused` is the answer; `video_only` and `audio_only` are the answer if the other modality were not there.
    """
    head.eval()
    seen, heard = examples.visual.present, examples.acoustic.present
    nothing = torch.zeros_like(seen)
    output = head(examples.visual, examples.acoustic)
    video, audio = (
        head(examples.visual, _silenced(examples.acoustic)),
        head(_silenced(examples.visual), examples.acoustic),
    )
    fused = fused_probabilities(output, seen, heard)
    answers = {
        "visual": (seen, None if output.visual is None else output.visual.softmax(-1)),
        "acoustic": (heard, None if output.acoustic is None else output.acoustic.softmax(-1)),
        "fused": (seen | heard, fused),
        "video_only": (seen, None if video.visual is None else fused_probabilities(video, seen, nothing)),
        "audio_only": (heard, None if audio.acoustic is None else fused_probabilities(audio, nothing, heard)),
    }
    unknown = torch.full_like(fused, math.nan)
    return {
        name: unknown if found is None else found.masked_fill(~known[:, None], math.nan)
        for name, (known, found) in answers.items()
    }


def _silenced(tokens: Tokens) -> Tokens:
    return tokens._replace(mask=torch.zeros_like(tokens.mask))


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
