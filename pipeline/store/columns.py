"""Clips as flat columns: how the fields of a typed clip are stored.

An array (n, …), with a row for each frame, window or token, becomes a column of the field's name. A `Ragged` field
becomes a flat column and a second one, `<name>_lengths (n,)`. The tuple of k arrays `views` becomes `view_1` to
`view_k`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from itertools import count, takewhile
from typing import Any, TypeVar, get_origin, overload

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
S = TypeVar("S", bound=np.generic)
LENGTHS = "_lengths"


class Ragged(Sequence[NDArray[S]]):
    """n arrays of different lengths, joined in one: `flat` (sum of the lengths, …) and `lengths` (n,)."""

    def __init__(self, flat: NDArray[S], lengths: NDArray[np.int64]) -> None:
        """Take the joined arrays and the length of each."""
        self.flat, self.lengths = flat, lengths
        self._ends = np.cumsum(lengths)

    @classmethod
    def join(cls, arrays: Sequence[NDArray[S]]) -> "Ragged[S]":
        """Join arrays, at least one; `Ragged(flat, lengths)` makes an empty one, whose `flat` gives type and shape."""
        return cls(np.concatenate(arrays), np.asarray([len(array) for array in arrays], np.int64))

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> NDArray[S]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[S]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[S] | list[NDArray[S]]:
        """Return one array, or a list of them."""
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        end = self._ends[index]
        return self.flat[end - self.lengths[index] : end]


@dataclass(frozen=True, eq=False)
class ClipData:
    """One clip's data in one file, row by row; all fields have n rows, and n may be 0."""

    times: NDArray[np.float32]  # (n,) seconds from the clip's start


C = TypeVar("C", bound=ClipData)


def to_columns(clip: ClipData) -> dict[str, NDArray[Any]]:
    """Return the columns of a clip."""
    columns: dict[str, NDArray[Any]] = {}
    for field in fields(clip):
        value = getattr(clip, field.name)
        if isinstance(value, Ragged):
            columns |= {field.name: value.flat, field.name + LENGTHS: value.lengths}
        elif isinstance(value, tuple):
            columns |= dict(zip(_numbered(field.name), value, strict=False))
        else:
            columns[field.name] = value
    return columns


def from_columns(kind: type[C], columns: Arrays) -> C:
    """Return the clip that has these columns; more columns than the type has fields are ignored.

    Raise KeyError with the name of a column that is missing.
    """
    return kind(**{field.name: _value(field, columns) for field in fields(kind)})


def _value(field: Field[Any], columns: Arrays) -> Any:
    kind = get_origin(field.type)
    if kind is Ragged:
        return Ragged(columns[field.name], columns[field.name + LENGTHS])
    if kind is tuple:
        return tuple(columns[name] for name in numbered_columns(field.name, columns))
    return columns[field.name]


def numbered_columns(field: str, columns: Iterable[str]) -> list[str]:
    """Return which of the columns hold the arrays of a tuple, in order: `view_1`, `view_2` … for `views`."""
    names = set(columns)
    return list(takewhile(names.__contains__, _numbered(field)))


def is_numbered(column: str, field: str) -> bool:
    """Return whether a column holds one of the arrays of a tuple, as `view_1` does for `views`."""
    return column.startswith(f"{field.removesuffix('s')}_")


def _numbered(field: str) -> Iterable[str]:
    return (f"{field.removesuffix('s')}_{number}" for number in count(1))


def compute_columns(compute: Callable[[Any], ClipData], source: Any) -> Arrays:
    """Return the columns of the clip that `compute` makes of a source: what a worker sends back and the memo keeps."""
    return to_columns(compute(source))


def offsets_name(column: str) -> str:
    """Return the name of a ragged column's offsets in a file; of the clips' offsets for the name ''."""
    return f"{column}_offsets" if column else "offsets"


def is_offsets(column: str) -> bool:
    """Return whether a column of a file holds offsets: a name that `offsets_name` returns."""
    return column == "offsets" or column.endswith("_offsets")
