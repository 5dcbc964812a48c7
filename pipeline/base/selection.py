"""What an adapter returns: clips as their names and tables tell of them, before any media is opened."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

NAMES_SHOWN = 6


def shorten(names: Sequence[str]) -> str:
    """Return the first of the names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


T = TypeVar("T")


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Return all items, or so many of them at even distances, first and last included.

    A fixed step could fall into the items' own rhythm.
    """
    if len(items) <= count:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, count).astype(int)]
