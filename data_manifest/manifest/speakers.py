"""Names of speakers that may stand for one person."""

import re
from collections import defaultdict
from collections.abc import Iterable

DISREGARDED = re.compile(
    r"(?<!\d)[\W_]+|[\W_]+(?!\d)|(?<!\d)0+(?=\d)"
)  # separators but between numbers, and leading zeros


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that are equal but for case, separators and leading zeros, sorted."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[DISREGARDED.sub("", name.casefold())].append(name)
    return sorted(group for group in groups.values() if len(group) > 1)
