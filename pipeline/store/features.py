"""The embeddings of one modality: clip by clip as arrays, or many clips as padded tensors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.base.errors import StoreError
from pipeline.store.clips import ClipTokens
from pipeline.store.columns import numbered_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS, TOKENS
from pipeline.store.stored_tokens import StoredTokens
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
    def _columns(self) -> list[str]:
        """The columns (N, D) of tokens: those of the clips, then those of augmented copies."""
        return [TOKENS, *self._views]

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

    def padded_bytes(self, clip_ids: Sequence[str]) -> int:
        """Return the memory that `load` takes for these clips."""
        _, lengths = self.reader.spans(clip_ids)
        return 4 * len(self._columns) * len(lengths) * max(1, int(lengths.max(initial=0))) * self.reader.width(TOKENS)

    def load(self, clip_ids: Sequence[str]) -> Tokens:
        """Return the tokens of the clips in this order; a clip that the store lacks has no tokens.

        Raise StoreError if the file is damaged, or if tokens of these clips are not finite.
        """
        layout = self._layout(clip_ids)
        mask = layout.mask
        values = np.zeros((len(self._columns), *mask.shape, self.reader.width(TOKENS)), np.float32)
        for name, padded in zip(self._columns, values, strict=True):
            self._read(name, layout.source, partial(_copy, padded.reshape(mask.size, -1), layout.target))
        views = torch.from_numpy(values[1:]) if self._views else None
        return Tokens(torch.from_numpy(values[0]), torch.from_numpy(layout.times), torch.from_numpy(mask), views)

    def open_tokens(self, clip_ids: Sequence[str]) -> StoredTokens:
        """Return the tokens of the clips as `load` does, but leave them in the file, to be read by batches.

        The file is read once, to raise the errors that `load` raises.
        """
        layout = self._layout(clip_ids)
        for name in self._columns:
            self._read(name, layout.source, lambda members, rows: None)
        times, mask = torch.from_numpy(layout.times), torch.from_numpy(layout.mask)
        return StoredTokens(self.reader, self._columns, torch.from_numpy(layout.starts), times, mask)

    def _layout(self, clip_ids: Sequence[str]) -> "_Layout":
        """Return where the tokens of the clips lie in the file, and where among the padded ones."""
        starts, lengths = self.reader.spans(clip_ids)
        longest = max(1, int(lengths.max(initial=0)))
        mask = np.arange(longest) < lengths[:, None]
        target = np.flatnonzero(mask)
        source = np.arange(len(target)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        times = np.zeros(mask.shape, np.float32)
        times[mask] = self._times[source]
        self._require_finite(source[~np.isfinite(times[mask])], "times")
        order = np.argsort(source, kind="stable")
        return _Layout(starts, times, mask, target[order], source[order])

    def _read(
        self, column: str, source: NDArray[np.int64], receive: Callable[[slice, NDArray[np.float32]], None]
    ) -> None:
        """Read a column once, and call `receive(members, rows)` with parts of the rows `source` (m,), ascending.

        `rows` (k, D) are those of `source[members]`. Two threads call it. Raise if a row is not finite.
        """
        refused: list[int] = []

        def pick_rows(first: int, block: NDArray[np.float32]) -> None:
            low, high = np.searchsorted(source, (first, first + len(block)))
            wanted = source[low:high] - first
            rows = block if np.array_equal(wanted, np.arange(len(block))) else block[wanted]
            with np.errstate(all="ignore"):  # a finite sum has finite terms only, and is found in half the time
                if not np.isfinite(rows.sum()):
                    refused.extend(source[low:high][~np.isfinite(rows).all(1)].tolist())
            receive(slice(low, high), rows)

        self.reader.read_blocks(column, pick_rows)
        self._require_finite(np.asarray(refused, np.int64), column)

    def _require_finite(self, not_finite: NDArray[np.int64], column: str) -> None:
        """Raise if a column has any rows that are not finite, with the first clip that has one."""
        if len(not_finite):
            clip_id = self.reader.clip_at(int(not_finite.min()))
            raise StoreError(
                f"{self.reader.path}: {column} of the clip {clip_id!r} are not finite{self.reader.rerun_hint}"
            )


def _copy(padded: NDArray[np.float32], target: NDArray[np.int64], members: slice, rows: NDArray[np.float32]) -> None:
    padded[target[members]] = rows


class _Layout(NamedTuple):
    """Where the tokens of n clips lie."""

    starts: NDArray[np.int64]  # (n,) the first row of each clip in the file
    times: NDArray[np.float32]  # (n, T) seconds
    mask: NDArray[np.bool_]  # (n, T)
    target: NDArray[np.int64]  # (tokens,) the row of each token among the padded ones, in the order of the file
    source: NDArray[np.int64]  # (tokens,) its row in the file, ascending
