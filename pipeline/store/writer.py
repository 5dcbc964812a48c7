"""Writing the HDF5 files of `pipeline.store.schemas`: clip by clip, whole or not at all."""

from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DISK_FULL, StoreError
from pipeline.base.files import DeferredErrors, atomic_write
from pipeline.base.provenance import canonical, digest
from pipeline.store.attributes import CHECKSUM
from pipeline.store.columns import LENGTHS, Arrays, offsets_name
from pipeline.store.schemas import CLIP_ID, MEDIA_SHA256, WORDS, holds_tokens, word_sum

CHUNK_BYTES = 1 << 18
TOKENS_CHUNK_BYTES = 1 << 22  # read one and a half times as fast as smaller ones


class Writer:
    """Appends clips to an open file; made by `open_writer`."""

    def __init__(self, file: h5py.File, disk: DeferredErrors, like: Arrays) -> None:
        """Create empty columns with the types and row shapes of `like`."""
        self._file, self._disk = file, disk
        self._columns: dict[str, h5py.Dataset] = {}
        self._texts: dict[str, list[str]] = {CLIP_ID: [], MEDIA_SHA256: []}
        self._sums = {name: 0 for name in like if holds_tokens(name)}
        # Arrays, because a list takes five times the memory, and millions of crops have an offset each.
        ragged = [name for name in sorted(like) if name + LENGTHS in like]
        self._offsets = {offsets_name(name): array("q", [0]) for name in ["", *ragged]}
        for name, value in sorted(like.items()):
            if name.endswith(LENGTHS):
                continue
            row_bytes = max(1, value.dtype.itemsize * int(np.prod(value.shape[1:])))
            chunk_bytes = TOKENS_CHUNK_BYTES if holds_tokens(name) else CHUNK_BYTES
            self._columns[name] = file.create_dataset(
                name,
                shape=(0, *value.shape[1:]),
                maxshape=(None, *value.shape[1:]),
                dtype=value.dtype,
                chunks=(max(1, chunk_bytes // row_bytes), *value.shape[1:]),
                fletcher32=not holds_tokens(name),
            )

    def append(self, clip_id: str, columns: Arrays, *, media_sha256: str = "") -> None:
        """Add a clip by its columns of n rows; a ragged column is flat, with its rows' lengths in `<name>_lengths`.

        `media_sha256` is the sha256 of the clip's media.
        """
        rows = {len(columns.get(name + LENGTHS, value)) for name, value in columns.items()}
        if len(rows) != 1:
            raise ValueError(f"{clip_id}: columns with different numbers of rows: {sorted(rows)}")
        for name, value in sorted(columns.items()):  # always in one order, so that equal contents give equal files
            if name.endswith(LENGTHS):
                ends = self._offsets[offsets_name(name.removesuffix(LENGTHS))]
                ends.extend((ends[-1] + np.cumsum(value)).tolist())
            else:
                dataset = self._columns[name]
                start = len(dataset)
                dataset.resize(start + len(value), axis=0)
                dataset[start:] = value
                if name in self._sums:
                    self._sums[name] += word_sum(value)
        self._offsets["offsets"].append(self._offsets["offsets"][-1] + rows.pop())
        self._texts[CLIP_ID].append(clip_id)
        self._texts[MEDIA_SHA256].append(media_sha256)
        if self._disk.error:
            raise self._disk.error

    def finish(self, attributes: Mapping[str, Any]) -> None:
        """Write the index and the attributes; values that are not text become JSON."""
        for name, values in self._offsets.items():
            self._file.create_dataset(name, data=np.asarray(values, np.int64), fletcher32=True)
        for name, texts in self._texts.items():
            fixed = _fixed_text(texts or [""])[: len(texts)]
            self._file.create_dataset(name, data=fixed, maxshape=(None,), fletcher32=True)
        for name, total in self._sums.items():
            self._columns[name].attrs["sum"] = np.uint64(total % WORDS)
        encoded = {name: value if isinstance(value, str) else canonical(value) for name, value in attributes.items()}
        for name, value in (encoded | {CHECKSUM: digest(encoded)}).items():
            self._file.attrs[name] = _fixed_text(value)


def _fixed_text(text: Any) -> NDArray[np.bytes_]:
    """Return text, or a list of texts, as UTF-8 strings of one length.

    No checksum of HDF5 covers strings of variable length, and HDF5 can hang when it reads damaged ones.
    """
    fixed = np.char.encode(text, "utf-8")
    return fixed.astype(h5py.string_dtype(length=max(1, fixed.dtype.itemsize)))


@contextmanager
def open_writer(path: Path, *, like: Arrays, attributes: Mapping[str, Any]) -> Iterator[Writer]:
    """Write one file, which appears under its name when the block ends without an exception.

    `like` gives the columns (any arrays of the right type and row shape); `attributes` are read at the end.
    Raise StoreError if the disk is full.
    """
    for abandoned in path.parent.glob(f".*.{path.name}"):  # left by a run that was killed
        abandoned.unlink()
    failed: OSError | None = None
    try:
        with atomic_write(path) as temporary, DeferredErrors(temporary, "w+b") as disk:
            try:
                with h5py.File(disk, "w", libver=("v110", "v110")) as file:
                    writer = Writer(file, disk, like)
                    yield writer
                    writer.finish(attributes)
            finally:
                failed = disk.error
            if failed:
                raise failed
    except OSError as error:
        cause = failed or error  # after a failed write, HDF5 raises about what it then cannot read
        if cause.errno not in DISK_FULL:
            raise
        raise StoreError(f"{path} cannot be written: {cause.strerror}; make room, and run the stage again") from error
