"""Training a head on cached embeddings. Test clips never come near: the trainer is not given any."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from data_manifest.protocols import ProtocolConfig
from pipeline.dataset import Examples
from pipeline.errors import TrainingError
from pipeline.heads import HEADS, Head, HeadConfig, HeadOutput, Shapes, fuse
from pipeline.losses import ALIGNMENTS, Alignment, AlignmentConfig, progress_weight
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


def train(
    recipe: Recipe,
    training: Examples,
    validation: Examples | None,
    *,
    classes: int,
    seed: int,
    epochs: int = 0,
) -> Trained:
    """Train and return the head of the epoch with the best UAR on validation, or of the last without validation.

    `epochs` replaces the recipe's number of epochs; the schedules then end there.
    """
    torch.set_num_threads(1)  # the same bits on every machine's number of cores; heads are small
    torch.manual_seed(seed)
    total = epochs or recipe.train.epochs
    head = build_head(recipe.head, training, classes)
    head.fit(training)
    align: Alignment = lookup(ALIGNMENTS, recipe.alignment.name, "alignment")(recipe.alignment)
    if not any(parameter.requires_grad for parameter in head.parameters()):
        return Trained(head, [], 0)  # fitting was all
    per_epoch = math.ceil(len(training) / recipe.train.batch_size)
    optimiser, schedule = _optimiser(head, recipe.train, per_epoch * total)
    curve: list[Epoch] = []
    best_uar, best = -1.0, Trained(head, curve, total)
    best_state: dict[str, Tensor] = {}
    for epoch in range(1, total + 1):
        losses = []
        for batch_number, index in enumerate(_batches(len(training), recipe.train.batch_size)):
            weight = recipe.alignment.weight * progress_weight(
                ((epoch - 1) * per_epoch + batch_number) / (total * per_epoch), gamma=recipe.alignment.gamma
            )
            losses.append(
                _step(head, training.take(index).drawn(), align, weight, recipe.train, optimiser, epoch, batch_number)
            )
            schedule.step()
        cross_entropy, alignment = torch.tensor(losses).mean(0).tolist()
        validation_uar = uar(predict(head, validation)["fused"], validation.labels) if validation else math.nan
        curve.append(Epoch(epoch, cross_entropy, alignment, validation_uar))
        if validation_uar > best_uar:
            best_uar, best = validation_uar, Trained(head, curve, epoch)
            best_state = {name: value.clone() for name, value in head.state_dict().items()}
    if best_state:
        head.load_state_dict(best_state)
    return best


def build_head(config: HeadConfig, examples: Examples, classes: int) -> Head:
    """Return an untrained head that fits the examples."""
    shapes = Shapes(examples.visual.values.shape[-1], examples.acoustic.values.shape[-1], classes)
    head: Head = lookup(HEADS, config.name, "head")(config, shapes)
    return head


def _optimiser(
    head: nn.Module, config: TrainConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return AdamW and a learning rate that grows linearly, then falls along a cosine to 0."""
    optimiser = torch.optim.AdamW(
        head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    warm = max(1, round(config.warmup * steps))

    def factor(step: int) -> float:
        return (
            (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
        )

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def _batches(count: int, size: int) -> tuple[Tensor, ...]:
    return torch.randperm(count).split(size)


def _step(
    head: Head,
    batch: Examples,
    align: Alignment,
    weight: float,
    config: TrainConfig,
    optimiser: torch.optim.Optimizer,
    epoch: int,
    number: int,
) -> tuple[float, float]:
    """Take one step; return the cross-entropy and the alignment, unweighted."""
    head.train()
    output = head(batch.visual, batch.acoustic)
    cross_entropy = classification_loss(output, batch, smoothing=config.label_smoothing)
    alignment = alignment_loss(output, batch, align)
    loss = cross_entropy + weight * alignment
    if not torch.isfinite(loss):
        raise TrainingError(
            f"the loss is not finite at epoch {epoch}, batch {number}: cross-entropy {cross_entropy.item()}, "
            f"alignment {alignment.item()}; lower train.learning_rate or alignment.weight"
        )
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(head.parameters(), config.gradient_norm)
    optimiser.step()
    return cross_entropy.item(), alignment.item()


def classification_loss(output: HeadOutput, batch: Examples, *, smoothing: float) -> Tensor:
    """Return CE_v + CE_a, each over the clips that have the modality, and that of the fusion where the head has one."""
    seen, heard = batch.visual.present, batch.acoustic.present
    parts = []
    for logits, known in ((output.visual, seen), (output.acoustic, heard), (output.fused, seen | heard)):
        if logits is not None:
            each = F.cross_entropy(logits, batch.labels, label_smoothing=smoothing, reduction="none")
            present = known.to(each.dtype)
            parts.append((each * present).sum() / present.sum().clamp(min=1))
    return torch.stack(parts).sum()


def alignment_loss(output: HeadOutput, batch: Examples, align: Alignment) -> Tensor:
    """Return the sum over layers of the distance between both modalities; a missing one takes no part."""
    seen, heard = batch.visual.present, batch.acoustic.present
    if output.visual is None or not (output.visual_layers and seen.any() and heard.any()):
        return batch.visual.values.new_zeros(())
    truth = F.one_hot(batch.labels, output.visual.shape[1]).to(output.visual.dtype)
    distances = [
        align(visual[seen], acoustic[heard], truth[seen], truth[heard])
        for visual, acoustic in zip(output.visual_layers, output.acoustic_layers, strict=True)
    ]
    return torch.stack(distances).sum()


@torch.inference_mode()
def predict(head: Head, examples: Examples) -> dict[str, Tensor]:
    """Return probabilities (n, C) by `visual`, `acoustic` and `fused`; nan where a clip lacks the modality."""
    head.eval()
    output = head(examples.visual, examples.acoustic)
    present = {"visual": examples.visual.present, "acoustic": examples.acoustic.present}
    logits = {"visual": output.visual, "acoustic": output.acoustic}
    known = {name: values for name, values in logits.items() if values is not None}
    fused = output.fused if output.fused is not None else fuse(known, present)
    unknown = torch.full_like(fused, math.nan)
    alone = {
        name: known[name].softmax(-1).masked_fill(~present[name][:, None], math.nan) if name in known else unknown
        for name in logits
    }
    return alone | {"fused": fused.softmax(-1)}


def uar(probabilities: Tensor, labels: Tensor) -> float:
    """Return the unweighted average recall over the classes that occur among the labels."""
    right = (probabilities.argmax(1) == labels).to(torch.float64)
    return float(torch.stack([right[labels == label].mean() for label in labels.unique()]).mean())


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as JSON-like data."""
    return {name: getattr(recipe, name).model_dump(mode="json") for name in ("head", "alignment", "train")}
