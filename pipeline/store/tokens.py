"""The tokens of many clips as tensors: padded to one length, with a mask."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Tokens(NamedTuple):
    """One modality of n clips: values (n, T, D), times (n, T) in seconds, mask (n, T), True on tokens.

    `views` (k, n, T, D) are the values of k augmented copies, for training.
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
        """Return the tokens on a device."""
        views = None if self.views is None else self.views.to(device)
        return Tokens(self.values.to(device), self.times.to(device), self.mask.to(device), views)

    def take(self, index: Tensor) -> "Tokens":
        """Return the tokens of the clips at these indices."""
        views = None if self.views is None else self.views[:, index]
        return Tokens(self.values[index], self.times[index], self.mask[index], views)

    def batches(self, index: Tensor, generators: Sequence[torch.Generator] | None = None) -> "Tokens":
        """Return a batch of clips for each replica; `index` is (replicas, B).

        With `generators`, one a replica, each clip is replaced by one of its views or kept, with equal probability.
        """
        values = self.values.index_select(0, index.flatten()).unflatten(0, index.shape)
        if self.views is not None and generators is not None:
            count = 1 + len(self.views)
            choices = [torch.randint(count, index.shape[1:], generator=generator) for generator in generators]
            choice = torch.stack(choices).to(index.device)
            for number, view in enumerate(self.views, start=1):
                values = torch.where((choice == number)[..., None, None], view[index], values)
        return Tokens(values, self.times[index], self.mask[index])
