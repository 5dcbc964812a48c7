"""A few of many: at even distances, so that they come from everywhere."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Return all items, or so many of them at even distances, first and last included.

    A fixed step could fall into the items' own rhythm.
    """
    if len(items) <= count:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, count).astype(int)]
