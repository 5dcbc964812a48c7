"""Reading the HDF5 files of `pipeline.store.schemas`: lazily, and with every sign of damage turned into one line."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import StoreError
from pipeline.base.params import check
from pipeline.base.provenance import digest, fingerprint
from pipeline.base.text import one_line
from pipeline.store._layout import check_layout, read_schema_name
from pipeline.store.attributes import CHECKSUM, StoreAttributes
from pipeline.store.columns import LENGTHS, Arrays, C, from_columns, is_offsets, offsets_name
from pipeline.store.schemas import (
    CLIP_ID,
    MEDIA_SHA256,
    SCHEMAS,
    STAGES,
    VARIANTS,
    WORDS,
    Schema,
    holds_tokens,
    word_sum,
)

READERS = 2


class _Attributes(dict[str, Any]):
    """The attributes of a file by name."""

    def __init__(self, values: Mapping[str, Any], path: Path, rerun_hint: str) -> None:
        """Take the values, and what an error about a missing one says."""
        super().__init__(values)
        self._path, self._rerun_hint = path, rerun_hint

    def __missing__(self, name: str) -> Any:
        """Raise a StoreError."""
        raise StoreError(f"{self._path} has no attribute {name!r}{self._rerun_hint}")


class Reader(Mapping[str, C]):
    """A file as a read-only mapping from clip ids to typed clips; opened at the first access."""

    def __init__(self, path: Path | str, *, schema: Schema[C] | None) -> None:
        """Remember the path and the schema that the file must have; None accepts all of this project.

        Without a schema, clips have no type: read them with `columns`.
        """
        self.path = Path(path)
        self.schema = schema
        self._columns: dict[str, h5py.Dataset] = {}

    @cached_property
    def _file(self) -> h5py.File:
        with self._report("is damaged or not an HDF5 file"):
            if not self.path.exists():
                raise StoreError(f"{self.path} does not exist{self.rerun_hint}")
            if not self.path.is_file():
                raise OSError("no regular file")  # HDF5 would wait for a FIFO's writer
            file = h5py.File(self.path, "r")
            name = read_schema_name(file)
        schema = self.schema or SCHEMAS.get(name)
        if schema is None or name != schema.name:
            expected = repr(schema.name) if schema else f"one of {', '.join(SCHEMAS)}"
            raise StoreError(f"{self.path} has the schema {one_line(repr(name))}, not {expected}{self.rerun_hint}")
        with self._report("is damaged or not written by this pipeline"):
            check_layout(file, schema)
        return file

    @property
    def rerun_hint(self) -> str:
        """The end of an error message: how to get the file written again; empty for files of no stage."""
        if self.path.parent.parent.name == VARIANTS:
            is_of_stage = self.path.parent.parent.parent.name == "data"
            if is_of_stage:
                return f"; run: dvc repro --force --single-item {VARIANTS}"
            return "; delete it if it exists, and run the command again"
        stage = STAGES.get(self.path.name)
        return f"; run: dvc repro --force --single-item {stage}" if stage else ""

    def _column(self, name: str) -> h5py.Dataset:
        """Return a column, cached: a lookup in the file takes as long as reading one clip."""
        if name not in self._columns:
            self._columns[name] = self._file[name]
        return self._columns[name]

    def column(self, name: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Return rows of a flat column."""
        with self._report_damage(name):
            values: NDArray[Any] = self._column(name)[rows]
        if holds_tokens(name) and rows == slice(None):
            self._check_sum(name, word_sum(values))
        return values

    def width(self, name: str) -> int:
        """Return how many numbers a row of a flat column (N, D) has."""
        with self._report_damage(name):
            return int(self._column(name).shape[1])

    def read_blocks(self, name: str, receive: Callable[[int, NDArray[Any]], object]) -> None:
        """Call `receive(first row, block)` with every block (rows, D) of a column of tokens, from two threads.

        A block is valid only during the call. While HDF5 reads a chunk for one thread, the other works on its block.
        Whole chunks are read in half the time that a selection of rows takes.
        """
        with self._report_damage(name):
            dataset = self._column(name)

        def read(turn: int) -> int:
            block, total = np.empty(dataset.chunks, dataset.dtype), 0
            for first in range(turn * len(block), len(dataset), READERS * len(block)):
                with self._report_damage(name):
                    dataset.id.read_direct_chunk((first, 0), out=block.reshape(-1).view(np.uint8))
                rows = block[: len(dataset) - first]
                receive(first, rows)
                total += word_sum(rows)
            return total

        with ThreadPoolExecutor(READERS) as threads:
            self._check_sum(name, sum(threads.map(read, range(READERS))))

    def check_column(self, name: str) -> tuple[int, ...]:
        """Return the shape of a flat column; all its chunks are read, one at a time, and so checked."""
        with self._report_damage(name):
            dataset = self._column(name)
            shape: tuple[int, ...] = dataset.shape
        if holds_tokens(name):
            self.read_blocks(name, lambda first, block: None)
        else:
            for first in range(0, shape[0], dataset.chunks[0]):
                self.column(name, slice(first, first + dataset.chunks[0]))
        return shape

    @contextmanager
    def _report(self, fault: str) -> Iterator[None]:
        """Turn whatever HDF5, JSON or UTF-8 raise on reading into a StoreError that names the file and the fault."""
        try:
            yield
        except (KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise StoreError(f"{self.path} {fault} ({one_line(str(error))}){self.rerun_hint}") from error

    def _report_damage(self, name: str) -> AbstractContextManager[None]:
        return self._report(f"is damaged in {name!r}")

    def _check_sum(self, name: str, total: int) -> None:
        """Raise if the sum of tokens is not the one that was written."""
        if total % WORDS != self._column(name).attrs.get("sum"):
            raise StoreError(f"{self.path} is damaged in {name!r} (its sum differs){self.rerun_hint}")

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The file's attributes, with those in JSON decoded."""
        with self._report_damage("attributes"):
            values = {name: value.decode() for name, value in self._file.attrs.items()}
            if values.pop(CHECKSUM, "") != digest(values):
                raise ValueError("their checksum differs")
            attributes = check(values, StoreAttributes, where="attributes")
        return _Attributes(attributes.model_dump(by_alias=True, exclude_unset=True), self.path, self.rerun_hint)

    @cached_property
    def media_sha256(self) -> dict[str, str]:
        """The sha256 of each clip's media, by clip id."""
        return dict(zip(self.clip_ids, self._texts(MEDIA_SHA256), strict=True))

    @cached_property
    def version(self) -> str:
        """The short name of the content: everything that shaped it, and the media it was made from."""
        return fingerprint({"made by": self.attributes["fingerprint"], "of": list(self.media_sha256.items())})

    def require_match(self, version: str) -> None:
        """Raise if the embeddings were made from another version of this file."""
        if self.version != version:
            raise StoreError(f"{self.path} is not the file that the embeddings were made from; run: dvc repro")

    @cached_property
    def names(self) -> list[str]:
        """The names of all datasets in the file, sorted."""
        return sorted(self._file)

    @cached_property
    def clip_ids(self) -> list[str]:
        """The clip ids, in the order of the file."""
        clip_ids = self._texts(CLIP_ID)
        if len({*clip_ids}) < len(clip_ids):
            raise StoreError(f"{self.path} has two clips of one clip_id{self.rerun_hint}")
        return clip_ids

    def _texts(self, name: str) -> list[str]:
        with self._report_damage(name):
            return [text.decode() for text in self.column(name)]

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each clip's rows begin, (clips + 1,)."""
        return self.column("offsets")

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {clip_id: position for position, clip_id in enumerate(self.clip_ids)}

    def rows(self, clip_id: str) -> slice:
        """Return the rows of a clip; raise KeyError if the file lacks it."""
        position = self._positions[clip_id]
        return slice(int(self.offsets[position]), int(self.offsets[position + 1]))

    def clip_at(self, row: int) -> str:
        """Return the clip that a row of the file belongs to."""
        return self.clip_ids[int(np.searchsorted(self.offsets, row, side="right")) - 1]

    def spans(self, clip_ids: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first row and the number of rows of each clip, 0 for a clip that the file lacks: (clips,) each."""
        positions = np.asarray([self._positions.get(clip_id, -1) for clip_id in clip_ids], np.int64)
        starts = self.offsets[positions]
        return starts, np.where(positions < 0, 0, self.offsets[positions + 1] - starts)

    def __getitem__(self, clip_id: str) -> C:
        """Return a clip; raise KeyError if the file lacks it."""
        if self.schema is None:
            raise TypeError("a reader without a schema does not know the type of its clips; use columns()")
        return from_columns(self.schema.clip, self.columns(clip_id))

    def columns(self, clip_id: str) -> Arrays:
        """Return the columns of a clip as `Writer.append` takes them: (n, …), ragged ones flat with their lengths."""
        rows = self.rows(clip_id)
        columns: dict[str, NDArray[Any]] = {}
        for name, is_ragged in self._columns_of_clips:
            if is_ragged:
                ends = self.column(offsets_name(name), slice(rows.start, rows.stop + 1))
                columns[name] = self.column(name, slice(int(ends[0]), int(ends[-1])))
                columns[name + LENGTHS] = np.diff(ends)
            else:
                columns[name] = self.column(name, rows)
        return columns

    @cached_property
    def _columns_of_clips(self) -> list[tuple[str, bool]]:
        """The columns that hold the clips' rows, and whether each is ragged."""
        names = [name for name in self.names if name not in (CLIP_ID, MEDIA_SHA256) and not is_offsets(name)]
        return [(name, offsets_name(name) in self.names) for name in names]

    def __contains__(self, clip_id: object) -> bool:
        """Return whether the file holds the clip, without reading it."""
        return clip_id in self._positions

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clip_ids)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the clip ids."""
        return iter(self.clip_ids)


def describe(path: Path) -> dict[str, Any]:
    """Return a file's attributes, its size, and the shapes of its columns; the whole file is read and so checked."""
    reader = Reader[Any](path, schema=None)
    columns = {name: " x ".join(map(str, reader.check_column(name))) for name in reader.names}
    size = f"{path.stat().st_size:,} bytes, intact"
    return {"clips": len(reader), "size": size, **reader.attributes, **columns}
