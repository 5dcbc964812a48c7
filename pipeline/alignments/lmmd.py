"""Pulling two modalities together: alignments behind one contract, and the weight that grows with training.

An alignment is a function of two feature batches (n, D), (m, D) and their class weights (n, C), (m, C); it
returns a scalar. A row whose class weights are all 0 is no sample: so a clip that lacks a modality takes no part.
A table entry is a builder: called with the section's configuration, it returns the alignment.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from pipeline.alignments.contract import Alignment, AlignmentConfig, sample_mask
from pipeline.base.errors import TrainingError


def lmmd(
    source: Tensor,
    target: Tensor,
    source_probs: Tensor,
    target_probs: Tensor,
    *,
    kernel_mul: float = 2.0,
    kernel_num: int = 5,
    normalise: Literal["common", "all"] = "common",
) -> Tensor:
    """Local maximum mean discrepancy: the mean over classes of the squared distance between weighted class means.

    Features are (n, D) and (m, D), probabilities (n, C) and (m, C), one-hot or soft. `common` counts the classes
    that are some sample's most probable one on both sides and divides by their number; `all` counts every class
    with weight on both sides and divides by C. A row whose probabilities are all 0 is no sample.

    Zhu et al., Deep Subdomain Adaptation Network for Image Classification, TNNLS 2020, arXiv 2106.09388.
    """
    if not (torch.isfinite(source).all() and torch.isfinite(target).all()):
        raise TrainingError("LMMD met features that are not finite; lower train.learning_rate")
    return lmmd_unchecked(
        source,
        target,
        source_probs,
        target_probs,
        kernel_mul=kernel_mul,
        kernel_num=kernel_num,
        normalise=normalise,
    )


def lmmd_unchecked(
    source: Tensor,
    target: Tensor,
    source_probs: Tensor,
    target_probs: Tensor,
    *,
    kernel_mul: float,
    kernel_num: int,
    normalise: Literal["common", "all"],
) -> Tensor:
    """Compute without looking at values, so that many can be computed at once."""
    if normalise == "common":
        counted = _most_probable(source_probs) & _most_probable(target_probs)
        divisor = counted.sum().clamp(min=1)
    else:
        counted = (source_probs.sum(0) > 0) & (target_probs.sum(0) > 0)
        divisor = torch.tensor(source_probs.shape[1])
    # The squared distance of two weighted means is one quadratic form, with the weights of one side negative.
    weights = torch.cat([_share(source_probs), -_share(target_probs)]) * counted  # (n + m, C)
    present = torch.cat([sample_mask(source_probs), sample_mask(target_probs)])
    kernel = _gaussians(torch.cat([source, target]), present, kernel_mul=kernel_mul, kernel_num=kernel_num)
    return (weights * (kernel @ weights)).sum() / divisor


def _gaussians(features: Tensor, present: Tensor, *, kernel_mul: float, kernel_num: int) -> Tensor:
    """Return the sum of Gaussians around the mean squared distance of the rows (n, D) that are present (n,): (n, n).

    What is returned is less by its value at 0: the columns that it will be multiplied with sum to 0, so a constant
    changes nothing, and small distances lose fewer digits.
    """
    count = present.sum()
    centre = (present @ features / count.clamp(min=1)).detach()
    distances = _squared_distances(features - centre)
    mean = (present @ distances @ present / (count * count - count).clamp(min=1)).detach()
    # What is left of distances when all features are one point is rounding; it must not be taken for a scale.
    rounding = 8 * torch.finfo(features.dtype).eps * centre.square().sum()
    bandwidth = torch.where(mean > rounding, mean, 1.0)
    powers = torch.arange(kernel_num, device=features.device) - kernel_num // 2
    rates = -1 / (bandwidth * kernel_mul ** powers.to(features.dtype))
    return torch.expm1(distances * rates[:, None, None]).sum(0)


def _squared_distances(rows: Tensor) -> Tensor:
    """(n, D) to (n, n), by one matrix product: an order of magnitude faster than by differences."""
    squares = rows.square().sum(1)
    return (squares[:, None] + squares - 2 * rows @ rows.T).clamp(min=0)


def _share(probs: Tensor) -> Tensor:
    """Return each sample's share in its class, (n, C); the columns of classes without weight are 0."""
    total = probs.sum(0)
    return probs / torch.where(total > 0, total, 1.0)


def _most_probable(probs: Tensor) -> Tensor:
    """Return for each class whether it is some sample's most probable one, (C,)."""
    classes = probs.shape[1]
    chosen = probs.argmax(1)[:, None] == torch.arange(classes, device=probs.device)
    return (chosen & (probs.sum(1, keepdim=True) > 0)).any(0)


def build_lmmd(config: AlignmentConfig) -> Alignment:
    return partial(
        lmmd_unchecked, kernel_mul=config.kernel_mul, kernel_num=config.kernel_num, normalise=config.normalise
    )
