"""Pulling two modalities together: alignments behind one contract, and the weight that grows with training.

An alignment is a function of two feature batches (n, D), (m, D) and their class weights (n, C), (m, C); it
returns a scalar. A row whose class weights are all 0 is no sample: so a clip that lacks a modality takes no part.
A table entry is a builder: called with the section's configuration, it returns the alignment.
"""

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
