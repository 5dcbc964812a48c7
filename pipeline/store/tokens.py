"""The tokens of many clips as tensors: padded to one length, with a mask."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

CHUNK_BYTES = 1 << 25  # of the padded tokens that one pass over all clips has in memory at once


class TokenSource(Protocol):
    """One modality of n clips, padded to T tokens of width D: in memory (`Tokens`), or read from its file by batches.

    `values` (n, T, D) of tokens in a file reads all of them: go through `Examples.chunks` instead.
    """

    @property
    def values(self) -> Tensor:
        """The tokens, (n, T, D)."""

    @property
    def times(self) -> Tensor:
        """Seconds, (n, T)."""

    @property
    def mask(self) -> Tensor:
        """True on tokens, (n, T)."""

    @property
    def present(self) -> Tensor:
        """Whether each clip has any token of this modality, (n,)."""

    @property
    def width(self) -> int:
        """D."""

    def to(self, device: torch.device) -> Self:
        """Return the same tokens, whose batches are on a device."""

    def take(self, index: Tensor) -> Self:
        """Return the clips at these indices, without reading them."""

    def batches(self, index: Tensor, generators: Sequence[torch.Generator] | None = None) -> "Tokens":
        """Return the clips at the indices of any shape, such as (replicas, B), in memory; see `Tokens.batches`."""


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

    @property
    def width(self) -> int:
        """The number of values of a token, D."""
        return self.values.shape[-1]

    def to(self, device: torch.device) -> "Tokens":
        """Return the tokens on a device."""
        views = None if self.views is None else self.views.to(device)
        return Tokens(self.values.to(device), self.times.to(device), self.mask.to(device), views)

    def take(self, index: Tensor) -> "Tokens":
        """Return the tokens of the clips at these indices."""
        views = None if self.views is None else self.views[:, index]
        return Tokens(self.values[index], self.times[index], self.mask[index], views)

    def batches(self, index: Tensor, generators: Sequence[torch.Generator] | None = None) -> "Tokens":
        """Return a batch of clips for each replica; `index` is (replicas, B), or (B,) for a single batch.

        With `generators`, one a replica, each clip is replaced by one of its views or kept, with equal probability.
        """
        values = self.values.index_select(0, index.flatten()).unflatten(0, index.shape)
        if self.views is not None and generators is not None:
            choice = choose_copies(1 + len(self.views), index, generators)
            for number, view in enumerate(self.views, start=1):
                values = torch.where((choice == number)[..., None, None], view[index], values)
        return Tokens(values, self.times[index], self.mask[index])


def choose_copies(count: int, index: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Return which copy replaces each clip of `index` (replicas, B): 0, the clip itself, to `count` - 1."""
    choices = [torch.randint(count, index.shape[1:], generator=generator) for generator in generators]
    return torch.stack(choices).to(index.device)


def chunk_indices(*modalities: TokenSource) -> Iterator[Tensor]:
    """Yield the indices of all clips in order, a chunk at a time, whose padded tokens take `CHUNK_BYTES` at most."""
    clips = len(modalities[0].mask)
    clip_bytes = sum(4 * tokens.mask.shape[1] * tokens.width for tokens in modalities)
    yield from torch.arange(clips).split(max(1, CHUNK_BYTES // max(1, clip_bytes)))
