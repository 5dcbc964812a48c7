"""Learning rates and losses of a training step."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.alignments.contract import Alignment, AlignmentConfig
from pipeline.heads.contract import HeadOutput
from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens
from pipeline.training.recipe import TrainConfig


def learning_rates(config: TrainConfig, steps: int) -> Tensor:
    """Return the learning rate at every step (steps,): a linear warm-up, then a cosine decay."""
    done = torch.arange(steps)
    warmup = max(1, round(config.warmup * steps))
    decay = 0.5 * (1 + torch.cos(math.pi * (done - warmup) / max(1, steps - warmup)))
    return config.learning_rate * torch.where(done < warmup, (done + 1) / warmup, decay)


def class_weights(config: TrainConfig, labels: Tensor, classes: int) -> Tensor:
    """Return the weight of each class (C,) for the labels (n,) of the training part; 1 for a class without clips."""
    counts = torch.bincount(labels, minlength=classes)
    if config.class_weights == "none":
        return torch.ones(classes)
    return torch.where(counts > 0, len(labels) / ((counts > 0).sum() * counts.clamp(min=1)), 1.0)


def classification_loss(output: HeadOutput, batch: Examples, *, smoothing: Tensor | float, weights: Tensor) -> Tensor:
    """Return the cross-entropy summed over all logits that the head returns.

    Each is the mean over the clips that have the modality, or both for logits that leave the other one out. It is
    weighted by the weights (C,) of the classes as in `torch.nn.functional.cross_entropy`.
    """
    has_visual, has_acoustic = batch.visual.present, batch.acoustic.present
    has_both = has_visual & has_acoustic
    pairs = (
        (output.visual, has_visual),
        (output.acoustic, has_acoustic),
        (output.fused, has_visual | has_acoustic),
        (output.video_only, has_both),
        (output.audio_only, has_both),
    )
    losses = []
    for logits, present in pairs:
        if logits is not None:
            by_class = -logits.log_softmax(-1) * weights
            of_label = by_class.gather(1, batch.labels[:, None])[:, 0]
            loss = (1 - smoothing) * of_label + smoothing * by_class.mean(1)
            counts = present.to(loss.dtype)
            total = (weights[batch.labels] * counts).sum()
            losses.append((loss * counts).sum() / torch.where(total > 0, total, 1))
    return torch.stack(losses).sum()


def alignment_losses(output: HeadOutput, batch: Examples, align: Alignment, config: AlignmentConfig) -> Tensor:
    """Return the distance of both modalities at each layer (layers,); clips without a modality are ignored."""
    if output.visual is None or output.acoustic is None or not output.visual_layers:
        return batch.visual.values.new_zeros(0)
    classes = torch.arange(output.visual.shape[1], device=batch.labels.device)
    truth = (batch.labels[:, None] == classes).to(output.visual.dtype)
    visual_probs, acoustic_probs = (
        (truth if labels == "given" else logits.detach().softmax(-1)) * tokens.present[:, None]
        for labels, logits, tokens in (
            (config.visual_labels, output.visual, batch.visual),
            (config.acoustic_labels, output.acoustic, batch.acoustic),
        )
    )
    distances = [
        align(visual, acoustic, visual_probs, acoustic_probs)
        for visual, acoustic in zip(output.visual_layers, output.acoustic_layers, strict=True)
    ]
    return torch.stack(distances)


def batch_losses(
    head: Callable[[Tokens, Tokens], HeadOutput],
    visual: tuple[Tensor, ...],
    acoustic: tuple[Tensor, ...],
    labels: Tensor,
    smoothing: Tensor,
    weights: Tensor,
    *,
    align: Alignment,
    config: AlignmentConfig,
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy () and the alignment of each layer (layers,) of a head on a batch.

    `visual` and `acoustic` are the fields of `Tokens`.
    """
    tokens = Tokens(*visual), Tokens(*acoustic)
    batch, output = Examples(*tokens, labels), head(*tokens)
    return (
        classification_loss(output, batch, smoothing=smoothing, weights=weights),
        alignment_losses(output, batch, align, config),
    )
