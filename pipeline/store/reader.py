"""Clips of different lengths in one HDF5 file: flat columns and offsets, written once, read lazily.

A file holds `clip_id (clips)`, `content (clips)`, the sha256 of each clip's media, and columns. Row i of clip c lies
at `column[offsets[c] + i]`. A column whose rows are themselves of different lengths (an image file, a spectrogram's
window) lies flat beside its own `<column>_offsets (rows + 1)`.

Damage is met, not read: every chunk carries a checksum (fletcher32), but for tokens, which are loaded whole and
hundreds of megabytes at a time. HDF5 would spend more time on their checksums than on reading; the sum of all
their words, kept as an attribute, costs an eighth of that (and would not see rows that have changed places). Nothing
is compressed: packed tokens take three quarters of the bytes, and ten times as long to read (`python -m benchmarks
layout`); crops are JPEG files already.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import StoreError
from pipeline.base.provenance import digest, fingerprint
from pipeline.store.schemas import CHECKSUM, CLIP_ID, MEDIA_SHA256, STAGES, WORDS, holds_tokens, offsets_name, word_sum

READERS = 2


class Reader(Mapping[str, dict[str, Any]]):
    """A file as a read-only mapping from clip ids to their columns; opened at the first access."""

    def __init__(self, path: Path | str, *, schema: str | None) -> None:
        """Remember the path; `schema` is what the file must say it is, None: any of ours."""
        self.path = Path(path)
        self.schema = schema
        self._columns: dict[str, h5py.Dataset] = {}

    @cached_property
    def _file(self) -> h5py.File:
        try:
            file = h5py.File(self.path, "r")
        except FileNotFoundError:
            raise StoreError(f"{self.path} is not there{self._way_out}") from None
        except OSError as error:
            reason = " ".join(str(error).split())  # HDF5 writes several lines
            raise StoreError(f"{self.path} is damaged or no HDF5 file ({reason}){self._way_out}") from error
        with self._complaining("attributes"):
            found = str(file.attrs.get("schema", ""))
        if found != self.schema and not (self.schema is None and found.startswith("fdan.")):
            raise StoreError(f"{self.path} has the schema {found!r}, not {self.schema or 'fdan.…'!r}{self._way_out}")
        return file

    @property
    def _way_out(self) -> str:
        stage = STAGES.get(self.path.name)
        return f"; run: dvc repro --force --single-item {stage}" if stage else ""

    def _column(self, name: str) -> h5py.Dataset:
        """Return a column by its name, kept: for every clip to look it up again takes as long as to read it."""
        if name not in self._columns:
            self._columns[name] = self._file[name]
        return self._columns[name]

    def column(self, name: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Return rows of a flat column."""
        with self._complaining(name):
            values: NDArray[Any] = self._column(name)[rows]
        if holds_tokens(name) and rows == slice(None):
            self._compare(name, word_sum(values))
        return values

    def width(self, name: str) -> int:
        """Return how many numbers a row of a flat column (N, D) has."""
        with self._complaining(name):
            return int(self._column(name).shape[1])

    def each_block(self, name: str, call: Callable[[int, NDArray[Any]], object]) -> None:
        """Call with every part of tokens (N, D), the first row's number before it; the part is valid in the call only.

        While HDF5 reads a chunk for one thread, the other makes use of its own. As they lie in the file, chunks are
        read in half the time that a selection of rows takes.
        """
        with self._complaining(name):
            dataset = self._column(name)
        if dataset.chunks is None or dataset.id.get_create_plist().get_nfilters():  # somebody has packed it otherwise
            call(0, self.column(name))
            return

        def read(turn: int) -> int:
            block, total = np.empty(dataset.chunks, dataset.dtype), 0
            for first in range(turn * len(block), len(dataset), READERS * len(block)):
                with self._complaining(name):
                    dataset.id.read_direct_chunk((first, 0), out=block.reshape(-1).view(np.uint8))
                rows = block[: len(dataset) - first]
                call(first, rows)
                total += word_sum(rows)
            return total

        with ThreadPoolExecutor(READERS) as threads:
            self._compare(name, sum(threads.map(read, range(READERS))))

    @contextmanager
    def _complaining(self, name: str) -> Iterator[None]:
        """Turn what goes wrong with a column into words."""
        try:
            yield
        except KeyError:
            raise StoreError(f"{self.path} has no {name!r}{self._way_out}") from None
        except (OSError, RuntimeError, TypeError, ValueError) as error:  # whatever HDF5 or JSON finds wrong
            raise StoreError(f"{self.path} is damaged in {name!r} ({error}){self._way_out}") from error

    def _compare(self, name: str, total: int) -> None:
        """Refuse tokens whose sum is not the one that was written."""
        if total % WORDS != self._column(name).attrs.get("sum"):
            raise StoreError(f"{self.path} is damaged in {name!r} (its sum is another){self._way_out}")

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The file's attributes, those that are JSON decoded."""
        with self._complaining("attributes"):
            values = dict(self._file.attrs)
            if values.pop(CHECKSUM, "") != digest(values):
                raise ValueError("their checksum is another")
            packed = {"config", "excluded", "failures", "upstream", "weights"} & values.keys()
            return values | {name: json.loads(values[name]) for name in packed}

    @cached_property
    def media_sha256(self) -> dict[str, str]:
        """The sha256 of each clip's media, by clip id."""
        return dict(zip(self.clip_ids, self._texts(MEDIA_SHA256), strict=True))

    @cached_property
    def version(self) -> str:
        """The short name of what the file holds: all that made it, and of which media."""
        return fingerprint({"made by": self.attributes["fingerprint"], "of": list(self.media_sha256.items())})

    def require_match(self, version: str) -> None:
        """Refuse the file if the embeddings were made from another version of it."""
        if self.version != version:
            raise StoreError(f"{self.path} is not the file that the embeddings were made from; run: dvc repro")

    @cached_property
    def names(self) -> list[str]:
        """The names of all that lies in the file."""
        return sorted(self._file)

    @cached_property
    def clip_ids(self) -> list[str]:
        """The clips, in the order in which they lie."""
        return self._texts(CLIP_ID)

    def _texts(self, name: str) -> list[str]:
        return [text.decode() for text in self.column(name)]

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each clip's rows begin, (clips + 1,)."""
        return self.column("offsets")

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {clip_id: position for position, clip_id in enumerate(self.clip_ids)}

    def rows(self, clip_id: str) -> slice:
        """Return which rows are the clip's."""
        position = self._positions[clip_id]
        return slice(int(self.offsets[position]), int(self.offsets[position + 1]))

    def spans(self, clip_ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where each clip's rows begin and how many there are, none of one that is not there: (clips,) each."""
        places = np.asarray([self._positions.get(clip_id, -1) for clip_id in clip_ids], np.int64)
        starts = self.offsets[places]
        return starts, np.where(places < 0, 0, self.offsets[places + 1] - starts)

    def __getitem__(self, clip_id: str) -> dict[str, Any]:
        """Return the clip's columns: arrays (n, …), and lists of n arrays where a column is ragged."""
        rows = self.rows(clip_id)
        columns = [name for name in self.names if name not in (CLIP_ID, MEDIA_SHA256) and not name.endswith("offsets")]
        return {
            name: self._ragged(name, rows) if offsets_name(name) in self.names else self.column(name, rows)
            for name in columns
        }

    def _ragged(self, name: str, rows: slice) -> list[NDArray[Any]]:
        ends = self.column(offsets_name(name), slice(rows.start, rows.stop + 1))
        flat = self.column(name, slice(int(ends[0]), int(ends[-1])))
        return np.split(flat, ends[1:-1] - ends[0]) if len(ends) > 1 else []

    def __contains__(self, clip_id: object) -> bool:
        """Return whether the file holds the clip; nothing of it is read."""
        return clip_id in self._positions

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clip_ids)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the clip ids."""
        return iter(self.clip_ids)


def describe(path: Path) -> dict[str, Any]:
    """Return what a file is, what made it, its size, the shapes of what it holds; all is read, and so checked."""
    reader = Reader(path, schema=None)
    columns = {name: " x ".join(map(str, reader.column(name).shape)) for name in reader.names}
    size = f"{path.stat().st_size:,} bytes, intact"
    return {"clips": len(reader), "size": size, **reader.attributes, **columns}
