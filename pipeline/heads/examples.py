"""Clips with both their modalities and their labels, as tensors."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.store.tokens import TokenSource, chunk_indices


@dataclass(frozen=True)
class Examples:
    """Clips with both modalities and labels (n,), the positions of their classes."""

    visual: TokenSource
    acoustic: TokenSource
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

    def batch(self, index: Tensor) -> "Examples":
        """Return the clips at the positions `index` with `Tokens` in memory, without augmented copies."""
        return Examples(self.visual.batches(index), self.acoustic.batches(index), self.labels[index])

    def chunks(self) -> Iterator["Examples"]:
        """Yield all clips in order, a few at a time, with `Tokens` in memory, however many clips there are."""
        yield from map(self.batch, chunk_indices(self.visual, self.acoustic))
