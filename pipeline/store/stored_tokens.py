"""The tokens of many clips that do not fit into memory: they stay in their file, and are read by batches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from pipeline.store.clips import ClipTokens
from pipeline.store.reader import Reader
from pipeline.store.schemas import TOKENS
from pipeline.store.tokens import Tokens, choose_copies

BLOCK_BYTES = 1 << 22  # of the file that are read at once
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class StoredTokens:
    """One modality of n clips in a file, made by `FeatureStore.open_tokens`: the interface and the results of `Tokens`.

    Times (n, T) and mask (n, T) are in memory; only `batches` and `values` read tokens.
    """

    reader: Reader[ClipTokens]
    columns: Sequence[str]  # the tokens, then those of augmented copies
    starts: Tensor  # (n,) the first row of each clip in the file
    times: Tensor
    mask: Tensor
    device: torch.device = CPU  # of the batches

    @property
    def values(self) -> Tensor:
        """The padded tokens of all clips (n, T, D), which are read at each access."""
        return self.batches(torch.arange(len(self.mask))).values

    @property
    def present(self) -> Tensor:
        """Whether each clip has any token of this modality, (n,)."""
        return self.mask.any(1)

    @property
    def width(self) -> int:
        """The number of values of a token, D."""
        return self.reader.width(TOKENS)

    def to(self, device: torch.device) -> "StoredTokens":
        """Return the same tokens, whose batches are on a device."""
        return replace(self, device=device)

    def take(self, index: Tensor) -> "StoredTokens":
        """Return the clips at these indices, without reading them."""
        return replace(self, starts=self.starts[index], times=self.times[index], mask=self.mask[index])

    def batches(self, index: Tensor, generators: Sequence[torch.Generator] | None = None) -> Tokens:
        """Return the clips at the indices of any shape, such as (replicas, B), in memory; see `Tokens.batches`."""
        index = index.cpu()
        if generators is None or len(self.columns) == 1:
            values = self._read(TOKENS, index.flatten()).unflatten(0, index.shape)
        else:
            choice = choose_copies(len(self.columns), index, generators)
            values = torch.empty(*index.shape, self.mask.shape[1], self.width)
            for number, column in enumerate(self.columns):
                chosen = choice == number
                values[chosen] = self._read(column, index[chosen])
        return Tokens(values, self.times[index], self.mask[index]).to(self.device)

    def _read(self, column: str, index: Tensor) -> Tensor:
        """Return the padded tokens (m, T, D) of clips (m,), read in the order of the file, neighbours at once."""
        mask = self.mask[index].numpy()
        values = np.zeros((*mask.shape, self.width), np.float32)
        rows = (self.starts[index].numpy()[:, None] + np.arange(mask.shape[1]))[mask]  # in the file, of each token
        order = np.argsort(rows, kind="stable")
        rows, target = rows[order], np.flatnonzero(mask)[order]
        gaps = np.flatnonzero(np.diff(rows) > 1) + 1
        blocks = range(0, len(rows), max(1, BLOCK_BYTES // (4 * self.width)))
        for first, last in pairwise(np.union1d(gaps, [*blocks, len(rows)]).astype(np.int64)):
            block = self.reader.column(column, slice(int(rows[first]), int(rows[last - 1]) + 1))
            values.reshape(mask.size, -1)[target[first:last]] = block[rows[first:last] - rows[first]]
        return torch.from_numpy(values)
