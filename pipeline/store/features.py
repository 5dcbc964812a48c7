"""The embeddings of one modality, as arrays: clip by clip, or side by side."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS, TOKENS, VIEW


class Feature(NamedTuple):
    """One clip's tokens: `values` (n, D) float32 and `times` (n,) float32 seconds."""

    values: NDArray[np.float32]
    times: NDArray[np.float32]


class Padded(NamedTuple):
    """Clips side by side: `values` (clips, longest, D), `times` and `mask` (clips, longest); mask is True on tokens."""

    values: NDArray[np.float32]
    times: NDArray[np.float32]
    mask: NDArray[np.bool_]


class FeatureStore(Mapping[str, Feature]):
    """The embeddings of one modality: `store[clip_id]`, `store.load(clip_ids)`."""

    def __init__(self, path: Path | str) -> None:
        """Open `path` lazily."""
        self.reader = Reader(path, schema=EMBEDDINGS)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the file says of itself: schema, modality, config, weights, fingerprint."""
        return self.reader.attributes

    @cached_property
    def views(self) -> list[str]:
        """The columns (N, D) that hold tokens: those of the pictures themselves, then those of augmented copies."""
        return [TOKENS, *(name for name in self.reader.names if name.startswith(VIEW))]

    @cached_property
    def _tokens(self) -> NDArray[np.float32]:
        """All tokens: thousands of small reads would cost far more than one."""
        return self.reader.column(TOKENS)

    @cached_property
    def _times(self) -> NDArray[np.float32]:
        return self.reader.column("times")

    def __getitem__(self, clip_id: str) -> Feature:
        """Return the tokens of one clip; there may be none."""
        rows = self.reader.rows(clip_id)
        return Feature(self._tokens[rows], self._times[rows])

    def __contains__(self, clip_id: object) -> bool:
        """Return whether the store holds the clip."""
        return clip_id in self.reader

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.reader)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the clip ids."""
        return iter(self.reader)

    def clips_with_tokens(self) -> list[str]:
        """Return the clips that have at least one token."""
        lengths = np.diff(self.reader.offsets)
        return [clip_id for clip_id, length in zip(self.reader.clip_ids, lengths, strict=True) if length]

    def load(self, clip_ids: Sequence[str], *, view: str = TOKENS) -> Padded:
        """Return the clips in the order asked for; a clip that the store lacks has no tokens."""
        starts, lengths = self.reader.spans(clip_ids)
        longest = max(1, int(lengths.max(initial=0)))
        mask = np.arange(longest) < lengths[:, None]
        target = np.flatnonzero(mask)  # of each token the place among all
        source = np.arange(len(target)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        times = np.zeros(mask.shape, np.float32)
        times[mask] = self._times[source]
        values = np.zeros((*mask.shape, self.reader.width(view)), np.float32)
        flat = values.reshape(mask.size, -1)
        order = np.argsort(source, kind="stable")  # as they lie in the file
        target, source = target[order], source[order]

        def place(first: int, block: NDArray[np.float32]) -> None:
            low, high = np.searchsorted(source, (first, first + len(block)))
            rows = source[low:high] - first
            flat[target[low:high]] = block if np.array_equal(rows, np.arange(len(block))) else block[rows]

        self.reader.each_block(view, place)
        return Padded(values, times, mask)
