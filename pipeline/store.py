"""Clips of different lengths in one HDF5 file: flat columns and offsets, written once, read lazily.

A file holds `clip_id (clips)` and columns. Row i of clip c lies at `column[offsets[c] + i]`. A column whose rows
are themselves of different lengths (an image file, a spectrogram's window) lies flat beside its own
`<column>_offsets (rows + 1)`.

Damage is met, not read: every chunk carries a checksum (fletcher32), but for tokens, which are loaded whole and
hundreds of megabytes at a time. HDF5 would spend more time on their checksums than on reading; the sum of all
their words, kept as an attribute, costs an eighth of that (and would not see rows that have changed places). Nothing
is compressed: float32 embeddings shrink by 8 % and crops, JPEG files, not at all.
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

from pipeline.errors import NO_ROOM, StoreError
from pipeline.files import LateErrors, written_whole
from pipeline.memo import Arrays
from pipeline.provenance import canonical

CHUNK_BYTES = 1 << 18
TOKENS = "tokens"
VIEW = "view_"  # how the columns begin that hold tokens, too, but of augmented copies
TOKENS_CHUNK_BYTES = 1 << 22  # read one and a half times as fast as smaller ones
READERS = 2
WORDS = 1 << 64  # the sum of all words is kept modulo this
PICTURES = {"visual": "fdan.faces/4", "acoustic": "fdan.spectrograms/3"}  # the schemas of what each modality shows
EMBEDDINGS = "fdan.embeddings/4"
# Which stage makes a file: what an error about it tells the user to run again.
STAGES = {
    "faces.h5": "faces",
    "spectrograms.h5": "spectrograms",
    "visual.h5": "embed_faces",
    "acoustic.h5": "embed_mels",
}


class Writer:
    """Appends clips to an open file; made by `writing`."""

    def __init__(self, file: h5py.File, disk: LateErrors, like: Arrays) -> None:
        """Create the columns, empty, with the types and row shapes of `like`."""
        self._file, self._disk = file, disk
        self._columns: dict[str, h5py.Dataset] = {}
        self._clip_ids: list[str] = []
        self._sums = {name: 0 for name in like if _are_tokens(name)}
        self._offsets = {_index(name): [0] for name in ["", *like] if f"{name}_lengths" in like or not name}
        for name, value in like.items():
            if name.endswith("_lengths"):
                continue
            row_bytes = max(1, value.dtype.itemsize * int(np.prod(value.shape[1:])))
            chunk_bytes = TOKENS_CHUNK_BYTES if _are_tokens(name) else CHUNK_BYTES
            self._columns[name] = file.create_dataset(
                name,
                shape=(0, *value.shape[1:]),
                maxshape=(None, *value.shape[1:]),
                dtype=value.dtype,
                chunks=(max(1, chunk_bytes // row_bytes), *value.shape[1:]),
                fletcher32=not _are_tokens(name),
            )

    def append(self, clip_id: str, columns: Arrays) -> None:
        """Add a clip: columns of n rows; one with ragged rows lies flat, its rows' lengths in `<name>_lengths`."""
        rows = {len(columns.get(f"{name}_lengths", value)) for name, value in columns.items()}
        if len(rows) != 1:
            raise ValueError(f"{clip_id}: columns with different numbers of rows: {sorted(rows)}")
        for name, value in sorted(columns.items()):  # one order of writing, or equal contents were no equal files
            if name.endswith("_lengths"):
                ends = self._offsets[_index(name.removesuffix("_lengths"))]
                ends.extend((ends[-1] + np.cumsum(value)).tolist())
            else:
                dataset = self._columns[name]
                start = len(dataset)
                dataset.resize(start + len(value), axis=0)
                dataset[start:] = value
                if name in self._sums:
                    self._sums[name] += _sum(value)
        self._offsets["offsets"].append(self._offsets["offsets"][-1] + rows.pop())
        self._clip_ids.append(clip_id)
        if self._disk.failed:
            raise self._disk.failed

    def finish(self, attributes: Mapping[str, Any]) -> None:
        """Write the index and the attributes; what is no text becomes JSON."""
        for name, values in self._offsets.items():
            self._file.create_dataset(name, data=np.asarray(values, np.int64), fletcher32=True)
        # Strings are of a fixed length: HDF5 keeps those of any length where no checksum covers them.
        names = np.asarray([name.encode() for name in self._clip_ids] or [b""])[: len(self._clip_ids)]
        kind = h5py.string_dtype(length=names.dtype.itemsize)
        self._file.create_dataset("clip_id", data=names.astype(kind), maxshape=(None,), fletcher32=True)
        for name, total in self._sums.items():
            self._columns[name].attrs["sum"] = np.uint64(total % WORDS)
        for name, value in attributes.items():
            text = (value if isinstance(value, str) else canonical(value)).encode()
            self._file.attrs.create(name, text, dtype=h5py.string_dtype(length=max(1, len(text))))


def _index(column: str) -> str:
    """Return the name of the offsets of a ragged column, or of the clips for no name."""
    return f"{column}_offsets" if column else "offsets"


def _are_tokens(column: str) -> bool:
    return column == TOKENS or column.startswith(VIEW)


def _sum(rows: NDArray[Any]) -> int:
    """Return the sum of the words of rows (n, D) float32, modulo 2^64: 64-bit words where a row holds whole ones."""
    word = np.uint32 if rows.shape[1] % 2 else np.uint64
    return int(np.ascontiguousarray(rows).view(word).sum(dtype=np.uint64))


@contextmanager
def writing(path: Path, *, like: Arrays, attributes: Mapping[str, Any]) -> Iterator[Writer]:
    """Write one file, which appears under its name when the block ends well.

    `like` shows the columns (any arrays of the right type and row shape); `attributes` are read at the end.
    """
    for abandoned in path.parent.glob(f".*.{path.name}"):  # by a run that was killed
        abandoned.unlink()
    failed: OSError | None = None
    try:
        with written_whole(path) as temporary, LateErrors(temporary, "w+b") as disk:
            try:
                with h5py.File(disk, "w", libver=("v110", "v110")) as file:
                    writer = Writer(file, disk, like)
                    yield writer
                    writer.finish(attributes)
            finally:
                failed = disk.failed
            if failed:
                raise failed
    except OSError as error:
        cause = failed or error  # once a write has failed, HDF5 complains of what it then cannot read
        if cause.errno not in NO_ROOM:
            raise
        raise StoreError(f"{path} cannot be written: {cause.strerror}; make room, and run the stage again") from error


class Reader(Mapping[str, dict[str, Any]]):
    """A file as a read-only mapping from clip ids to their columns; opened at the first access."""

    def __init__(self, path: Path | str, *, schema: str | None, fingerprint: str = "") -> None:
        """Remember the path; the file must have the schema, None: any of ours, and the fingerprint, if one is given."""
        self.path = Path(path)
        self.schema, self.fingerprint = schema, fingerprint
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
        found = self._told(file, "schema")
        if found != self.schema and not (self.schema is None and found.startswith("fdan.")):
            raise StoreError(f"{self.path} has the schema {found!r}, not {self.schema or 'fdan.…'!r}{self._way_out}")
        if self.fingerprint and self.fingerprint != self._told(file, "fingerprint"):
            raise StoreError(f"{self.path} is not the file that the embeddings were made from; run: dvc repro")
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
        if _are_tokens(name) and rows == slice(None):
            self._compare(name, _sum(values))
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
                total += _sum(rows)
            return total

        with ThreadPoolExecutor(READERS) as threads:
            self._compare(name, sum(threads.map(read, range(READERS))))

    @contextmanager
    def _complaining(self, name: str) -> Iterator[None]:
        """Turn what goes wrong with a column into words."""
        try:
            yield
        except KeyError:
            raise StoreError(f"{self.path} has no column {name!r}{self._way_out}") from None
        except (OSError, ValueError) as error:  # ValueError: no UTF-8, or no JSON
            raise StoreError(f"{self.path} is damaged in {name!r} ({error}){self._way_out}") from error

    def _compare(self, name: str, total: int) -> None:
        """Refuse tokens whose sum is not the one that was written."""
        if total % WORDS != self._column(name).attrs.get("sum"):
            raise StoreError(f"{self.path} is damaged in {name!r} (its sum is another){self._way_out}")

    def _told(self, file: h5py.File, name: str) -> str:
        """Return an attribute, nothing where it is not there."""
        with self._complaining(name):
            value = file.attrs.get(name, b"")
            return value.decode() if isinstance(value, bytes) else str(value)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The file's attributes, those that are JSON decoded."""
        with self._complaining("attributes"):
            values: dict[str, Any] = {name: self._told(self._file, name) for name in self._file.attrs}
            packed = {"config", "excluded", "failures", "upstream", "weights"} & values.keys()
            return values | {name: json.loads(values[name]) for name in packed}

    @cached_property
    def names(self) -> list[str]:
        """The names of all that lies in the file."""
        return sorted(self._file)

    @cached_property
    def clip_ids(self) -> list[str]:
        """The clips, in the order in which they lie."""
        return [name.decode() for name in self.column("clip_id")]

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
        columns = [name for name in self.names if name != "clip_id" and not name.endswith("offsets")]
        return {
            name: self._ragged(name, rows) if _index(name) in self.names else self.column(name, rows)
            for name in columns
        }

    def _ragged(self, name: str, rows: slice) -> list[NDArray[Any]]:
        ends = self.column(_index(name), slice(rows.start, rows.stop + 1))
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
