"""What an HDF5 file may consist of: what `Writer` writes, and nothing else.

HDF5 can do much that a file of clips does not need, and that would mislead a reader: columns in other files, columns
without a checksum, filters that load code, sizes that the file does not hold. All of it is refused by name when a
file is opened, before a column is read.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5l, h5o, h5t, h5z

from pipeline.store.attributes import ATTRIBUTES
from pipeline.store.columns import LENGTHS, is_offsets, numbered_columns, offsets_name, to_columns
from pipeline.store.schemas import CLIP_ID, MEDIA_SHA256, TOKENS, Schema, holds_tokens

MOST_COLUMNS = 1000
LONGEST_NAME = 1000  # bytes of the attribute `schema`
MOST_CHUNK_BYTES = 1 << 24  # HDF5 holds one chunk in memory, however little of it is asked for
FLETCHER32_BYTES = 4
LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}


class Column(NamedTuple):
    """What a column must be: its type, None for text, and the shape of a row, where 0 stands for any length."""

    dtype: np.dtype[Any] | None
    row_shape: tuple[int, ...] = ()


def read_schema_name(file: h5py.File) -> str:
    """Return the attribute `schema`; an empty string if the file has none, or none that this pipeline writes."""
    if not h5a.exists(file.id, b"schema"):
        return ""
    attribute = h5a.open(file.id, b"schema")
    is_short = _is_text(attribute) and attribute.get_storage_size() <= LONGEST_NAME
    return decode(file.attrs["schema"]) if is_short else ""


def decode(text: bytes) -> str:
    """Return UTF-8 text, with bytes that are none escaped."""
    return text.decode(errors="backslashreplace")


def check_layout(file: h5py.File, schema: Schema[Any]) -> None:
    """Raise ValueError if a file is not what `Writer` makes of clips of this schema, with the name of what differs.

    HDF5's own exceptions for damaged files pass through.
    """
    if file.userblock_size:
        raise ValueError("it does not begin with HDF5's signature")
    for name, attribute in _attributes(file.id):
        if name not in ATTRIBUTES or not _is_text(attribute):
            raise ValueError(f"its attribute {name!r} is not one of {schema.name}, or no text")
    datasets = dict(_datasets(file))
    columns = _expected_columns(schema, datasets)
    for name in datasets:
        if name not in columns:
            raise ValueError(f"{name!r} is not a column of {schema.name}")
    for name, column in columns.items():
        if name not in datasets:
            raise ValueError(f"it has no {name!r}")
        _check_type(name, datasets[name], column)
        _check_storage(name, datasets[name])
        _check_sum_attribute(name, datasets[name])
    parts = [*datasets.values(), *(attribute for _, attribute in _attributes(file.id))]
    if sum(part.get_storage_size() for part in parts) > file.id.get_filesize():
        raise ValueError("its columns and attributes claim more bytes than it has")
    _check_offsets(datasets)


def _is_text(attribute: h5a.AttrID) -> bool:
    return attribute.shape == () and _has_type(attribute, None)


def _has_type(where: h5a.AttrID | h5d.DatasetID, dtype: np.dtype[Any] | None) -> bool:
    """Return whether an attribute or a dataset is of a type, exactly; None stands for UTF-8 text of a fixed length."""
    stored = where.get_type()
    if dtype is None and isinstance(stored, h5t.TypeStringID):
        dtype = h5py.string_dtype(length=stored.get_size())
    return dtype is not None and not stored.committed() and bool(stored.equal(h5t.py_create(dtype, logical=True)))


def _attributes(where: Any) -> Iterator[tuple[str, h5a.AttrID]]:
    for index in range(h5a.get_num_attrs(where)):
        attribute = h5a.open(where, index=index)
        yield decode(attribute.name), attribute


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5d.DatasetID]]:
    """Yield the datasets by name; raise if the file holds anything else, such as a link."""
    root = h5g.open(file.id, b"/")
    if root.get_num_objs() > MOST_COLUMNS:
        raise ValueError(f"it has more than {MOST_COLUMNS} columns")
    for index in range(root.get_num_objs()):
        name = root.get_objname_by_idx(index)
        text = decode(name)
        kind = root.links.get_info(name).type
        if kind != h5l.TYPE_HARD:
            raise ValueError(f"{text!r} is {LINKS.get(kind, 'a link of an unknown kind')}")
        dataset = h5o.open(root, name)
        if not isinstance(dataset, h5d.DatasetID):
            raise ValueError(f"{text!r} is not a dataset")
        yield text, dataset


def _expected_columns(schema: Schema[Any], names: Iterable[str]) -> dict[str, Column]:
    """Return the columns of a file; as many views as it has, if its clips may have views."""
    like = to_columns(schema.empty)
    columns = {CLIP_ID: Column(None), MEDIA_SHA256: Column(None), offsets_name(""): Column(np.dtype(np.int64))}
    for name, value in like.items():
        if name.endswith(LENGTHS):
            columns[offsets_name(name.removesuffix(LENGTHS))] = Column(np.dtype(np.int64))
        else:
            columns[name] = Column(value.dtype, value.shape[1:])
    if TOKENS in columns:
        columns |= dict.fromkeys(numbered_columns("views", names), columns[TOKENS])
    return columns


def _check_type(name: str, dataset: h5d.DatasetID, column: Column) -> None:
    """Raise unless a dataset has the type and the shape that its column should have."""
    if not _has_type(dataset, column.dtype):
        raise ValueError(f"{name!r} is not of the type {column.dtype or 'utf-8, of a fixed length'}")
    shape = dataset.shape
    fits = all(it == (width or max(it, 1)) for it, width in zip(shape[1:], column.row_shape, strict=False))
    if len(shape) != 1 + len(column.row_shape) or not fits:
        raise ValueError(f"{name!r} has the shape {shape}")


def _check_storage(name: str, dataset: h5d.DatasetID) -> None:
    """Raise unless a dataset is whole, in this file, in chunks of a moderate size, with no filter but its checksum."""
    plist, shape = dataset.get_create_plist(), dataset.shape
    if plist.get_layout() != h5d.CHUNKED:
        raise ValueError(f"{name!r} is not stored in chunks of this file")
    filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
    if filters != ([] if holds_tokens(name) else [h5z.FILTER_FLETCHER32]):
        raise ValueError(f"{name!r} has other filters than {'none' if holds_tokens(name) else 'its checksum'}")
    chunk = plist.get_chunk()
    chunk_bytes = math.prod(chunk) * dataset.get_type().get_size()
    if chunk[1:] != shape[1:] or chunk_bytes > MOST_CHUNK_BYTES:
        raise ValueError(f"{name!r} has chunks of the shape {chunk}")
    claimed = -(-shape[0] // chunk[0]) * (chunk_bytes + FLETCHER32_BYTES * len(filters))
    if dataset.get_storage_size() != claimed:
        raise ValueError(f"{name!r} claims {claimed} bytes, but has {dataset.get_storage_size()}")


def _check_sum_attribute(name: str, dataset: h5d.DatasetID) -> None:
    """Raise unless a dataset of tokens has the attribute `sum`, and no dataset any other."""
    attributes = [(attribute, it.shape, it.dtype) for attribute, it in _attributes(dataset)]
    if attributes != ([("sum", (), np.dtype(np.uint64))] if holds_tokens(name) else []):
        raise ValueError(f"{name!r} has {'no attribute `sum`, or others' if holds_tokens(name) else 'attributes'}")


def _check_offsets(datasets: Mapping[str, h5d.DatasetID]) -> None:
    """Raise unless all offsets ascend from 0 to the end of their columns, and all columns have the rows they should."""
    counts = {name: dataset.shape[0] for name, dataset in datasets.items()}
    rows = _last_offset("", datasets, count=counts[CLIP_ID])
    for name, count in counts.items():
        if not is_offsets(name):
            is_ragged = offsets_name(name) in datasets
            expected = _last_offset(name, datasets, count=rows) if is_ragged else rows
            if name in (CLIP_ID, MEDIA_SHA256):
                expected = counts[CLIP_ID]
            if count != expected:
                raise ValueError(f"{name!r} has {count} rows, not {expected}")


def _last_offset(column: str, datasets: Mapping[str, h5d.DatasetID], *, count: int) -> int:
    """Return where the last of `count` parts of a column ends."""
    name = offsets_name(column)
    offsets = h5py.Dataset(datasets[name])[:]
    if len(offsets) != count + 1 or offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"{name!r} are not {count + 1} offsets that ascend from 0")
    return int(offsets[-1])
