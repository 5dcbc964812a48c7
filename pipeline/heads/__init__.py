"""What is trained: heads over cached tokens.

A table entry is a builder: called with the section's configuration and the `Shapes` of the data, it returns the head.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pipeline.heads.baselines import Concat, Linear, Majority, Single
from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.fdan import FdanHead
from pipeline.heads.official import OfficialHead

__all__ = ["HEADS", "FdanHead", "Head", "HeadConfig", "HeadOutput", "Shapes", "fuse"]

HEADS: dict[str, Callable[[HeadConfig, Shapes], Head]] = {
    "acoustic": partial(Single, modality="acoustic"),
    "concat": Concat,
    "fdan": FdanHead,
    "linear": Linear,
    "majority": Majority,
    "official": OfficialHead,
    "visual": partial(Single, modality="visual"),
}


def fuse(logits: dict[str, Tensor], present: dict[str, Tensor]) -> Tensor:
    """Return fused log-probabilities (B, C): the mean of those (B, C) of the modalities that a clip has (B,)."""
    weights = torch.stack([present[name] for name in logits]).to(torch.float32)[..., None]  # (modalities, B, 1)
    parts = torch.stack([values.log_softmax(-1) for values in logits.values()])
    mean: Tensor = (parts * weights).sum(0) / weights.sum(0).clamp(min=1)
    return mean.log_softmax(-1)
