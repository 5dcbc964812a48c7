"""Clips with both their modalities and their labels, as tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.store.tokens import Tokens


@dataclass(frozen=True)
class Examples:
    """Clips with both modalities and labels (n,), the positions of their classes."""

    visual: Tokens
    acoustic: Tokens
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.labels)

    def to(self, device: torch.device) -> "Examples":
        """Return a copy on a device."""
        return Examples(self.visual.to(device), self.acoustic.to(device), self.labels.to(device))

    def take(self, index: Tensor) -> "Examples":
        """Return the clips at the positions `index`."""
        return Examples(self.visual.take(index), self.acoustic.take(index), self.labels[index])
