"""The weight of the alignment over a training. Ganin and Lempitsky, ICML 2015, arXiv 1409.7495."""

import math

import torch
from torch import Tensor

from pipeline.alignments.contract import AlignmentConfig


def progress_weight(progress: float, *, gamma: float) -> float:
    """Return 2 / (1 + exp(-γp)) - 1, the share of the alignment's weight at progress p in 0..1."""
    return 2 / (1 + math.exp(-gamma * progress)) - 1


def alignment_weights(config: AlignmentConfig, steps: int) -> Tensor:
    """Return the alignment's weight at every step of a training (steps,)."""
    shares = [progress_weight(step / steps, gamma=config.gamma) for step in range(steps)]
    return config.weight * torch.tensor(shares)
