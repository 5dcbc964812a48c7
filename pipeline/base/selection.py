"""Short selections from long lists: the first names for a message, evenly spaced items for a figure."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from pipeline.base.text import one_line, printable

NAMES_SHOWN = 6


def shorten(names: Sequence[str]) -> str:
    """Return the first six names as text, each on one line, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(one_line(printable(name)) for name in names[:NAMES_SHOWN]) + (
        f" and {more} more" if more > 0 else ""
    )


def count_noun(count: int, noun: str) -> str:
    """Return the count with a noun, in the plural unless it is one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


T = TypeVar("T")


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` items at even distances, including the first and the last.

    The distances are rounded one by one, because a fixed step could match a period in the items.
    """
    if len(items) <= count:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, count).astype(int)]
