"""Clips as tensors: padded tokens with a mask, and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.store.features import FeatureStore, Padded


class Tokens(NamedTuple):
    """One modality of n clips: values (n, T, D), times (n, T) in seconds, mask (n, T), True on tokens.

    `views` (k, n, T, D) are k augmented copies of the values, for training.
    """

    values: Tensor
    times: Tensor
    mask: Tensor
    views: Tensor | None = None

    @property
    def present(self) -> Tensor:
        """Whether each clip has any token of this modality, (n,)."""
        return self.mask.any(1)

    def to(self, device: torch.device) -> "Tokens":
        """Return a copy on a device."""
        views = None if self.views is None else self.views.to(device)
        return Tokens(self.values.to(device), self.times.to(device), self.mask.to(device), views)

    def take(self, index: Tensor) -> "Tokens":
        """Return the clips at the positions `index`."""
        views = None if self.views is None else self.views[:, index]
        return Tokens(self.values[index], self.times[index], self.mask[index], views)

    def batches(self, index: Tensor, generators: Sequence[torch.Generator] | None = None) -> "Tokens":
        """Return batches of clips, `index` (replicas, B). With generators, each replica picks a random view per clip.

        The original is as likely as each of its augmented copies.
        """
        values = self.values.index_select(0, index.flatten()).unflatten(0, index.shape)
        if self.views is not None and generators is not None:
            count = 1 + len(self.views)
            choices = [torch.randint(count, index.shape[1:], generator=it) for it in generators]
            choice = torch.stack(choices).to(index.device)
            for number, view in enumerate(self.views, start=1):
                values = torch.where((choice == number)[..., None, None], view[index], values)
        return Tokens(values, self.times[index], self.mask[index])


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


def load_tokens(store: FeatureStore, clip_ids: list[str]) -> Tokens:
    """Return one modality of the clips in the given order; a clip that the store lacks has no tokens."""
    loaded: list[Padded] = [store.load(clip_ids, view=view) for view in store.views]
    if not all(np.isfinite(padded.values).all() for padded in loaded):
        raise TrainingError(f"{store.reader.path} holds numbers that are not finite; build it again")
    copies = torch.stack([torch.from_numpy(it.values) for it in loaded[1:]]) if len(loaded) > 1 else None
    values, times, mask = map(torch.from_numpy, loaded[0])
    return Tokens(values, times, mask, copies)
