"""What a training run is made of: its recipe, its losses, what a head says, what comes of it."""

import math

import torch
from torch import Tensor

from pipeline.alignments.contract import Alignment, AlignmentConfig
from pipeline.heads.contract import HeadOutput
from pipeline.heads.examples import Examples
from pipeline.training.recipe import TrainConfig


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
