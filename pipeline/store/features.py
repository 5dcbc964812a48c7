"""The embeddings of one modality: clip by clip as arrays, or many clips as padded tensors."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.base.errors import StoreError
from pipeline.store.clips import ClipTokens
from pipeline.store.columns import numbered_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS, TOKENS
from pipeline.store.tokens import Tokens


class FeatureStore(Mapping[str, ClipTokens]):
    """The embeddings of one modality: `store[clip_id]`, `store.load(clip_ids)`."""

    def __init__(self, path: Path | str) -> None:
        """Remember the path; the file is opened at the first access."""
        self.reader = Reader(path, schema=EMBEDDINGS)

    @property
    def attributes(self) -> dict[str, Any]:
        """The file's attributes: schema, modality, config, weights, fingerprint and others."""
        return self.reader.attributes

    @cached_property
    def _views(self) -> list[str]:
        """The columns (N, D) that hold the tokens of augmented copies."""
        return numbered_columns("views", self.reader.names)

    @cached_property
    def _clips(self) -> ClipTokens:
        """The tokens of all clips: thousands of small reads would cost far more than one."""
        views = tuple(self.reader.column(name) for name in self._views)
        return ClipTokens(self._times, self.reader.column(TOKENS), views)

    @cached_property
    def _times(self) -> NDArray[np.float32]:
        return self.reader.column("times")

    def __getitem__(self, clip_id: str) -> ClipTokens:
        """Return the tokens of one clip, which may have none; the first access reads the whole file."""
        rows, clips = self.reader.rows(clip_id), self._clips
        return ClipTokens(clips.times[rows], clips.tokens[rows], tuple(view[rows] for view in clips.views))

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

    def load(self, clip_ids: Sequence[str]) -> Tokens:
        """Return the tokens of the clips in this order; a clip that the store lacks has no tokens.

        Raise StoreError if the file is damaged, or if tokens of these clips are not finite.
        """
        starts, lengths = self.reader.spans(clip_ids)
        longest = max(1, int(lengths.max(initial=0)))
        mask = np.arange(longest) < lengths[:, None]
        target = np.flatnonzero(mask)  # the row of each token among the padded ones
        source = np.arange(len(target)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        times = np.zeros(mask.shape, np.float32)
        times[mask] = self._times[source]
        order = np.argsort(source, kind="stable")  # the order of the file
        target, source = target[order], source[order]
        columns = [TOKENS, *self._views]
        values = np.zeros((len(columns), *mask.shape, self.reader.width(TOKENS)), np.float32)
        for name, padded in zip(columns, values, strict=True):
            self._fill(padded.reshape(mask.size, -1), name, target, source)
        views = torch.from_numpy(values[1:]) if self._views else None
        return Tokens(torch.from_numpy(values[0]), torch.from_numpy(times), torch.from_numpy(mask), views)

    def _fill(
        self, padded: NDArray[np.float32], column: str, target: NDArray[np.int64], source: NDArray[np.int64]
    ) -> None:
        """Copy the rows `source` (m,), ascending, of a column to the rows `target` (m,) of `padded` (rows, D)."""
        finite = []

        def copy_block(first: int, block: NDArray[np.float32]) -> None:
            low, high = np.searchsorted(source, (first, first + len(block)))
            rows = source[low:high] - first
            part = block if np.array_equal(rows, np.arange(len(block))) else block[rows]
            with np.errstate(all="ignore"):  # a finite sum has finite terms only, and is found in half the time
                finite.append(bool(np.isfinite(part.sum()) or np.isfinite(part).all()))
            padded[target[low:high]] = part

        self.reader.read_blocks(column, copy_block)
        if not all(finite):
            raise StoreError(f"{self.reader.path} holds tokens that are not finite{self.reader.rerun_hint}")
