"""Clips with both their modalities and their labels, as tensors."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.store.tokens import TokenSource, chunk_indices


@dataclass(frozen=True)
class Examples:
    """Clips with both modalities and labels (n,), the positions of their classes.

    `speakers` (n,) numbers the speakers, for what is chosen on speakers that were left out; None: unknown.
    """

    visual: TokenSource
    acoustic: TokenSource
    labels: Tensor
    speakers: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.labels)

    def to(self, device: torch.device) -> "Examples":
        """Return a copy on a device."""
        return Examples(self.visual.to(device), self.acoustic.to(device), self.labels.to(device), self.speakers)

    def take(self, index: Tensor) -> "Examples":
        """Return the clips at the positions `index`."""
        speakers = None if self.speakers is None else self.speakers[index]
        return Examples(self.visual.take(index), self.acoustic.take(index), self.labels[index], speakers)

    def batch(self, index: Tensor) -> "Examples":
        """Return the clips at the positions `index` with `Tokens` in memory, without augmented copies."""
        return Examples(self.visual.batches(index), self.acoustic.batches(index), self.labels[index])

    def chunks(self) -> Iterator["Examples"]:
        """Yield all clips in order, a few at a time, with `Tokens` in memory, however many clips there are."""
        yield from map(self.batch, chunk_indices(self.visual, self.acoustic))
