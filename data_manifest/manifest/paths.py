"""Which paths of a corpus are below its root, as they are written and through links."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePath

LINK_REFUSED = "a link that leads out of the corpus's root; to follow it, set follow_links: true"


def is_below(path: str) -> bool:
    """Return whether a path that is relative to a folder is one below it, as it is written."""
    return bool(PurePath(path).parts) and not PurePath(path).is_absolute() and ".." not in PurePath(path).parts


def outside_check(root: Path) -> Callable[[str], bool]:
    """Return a function of a path below the root: whether it leads out of it through a link. The root may be a link.

    Each folder is resolved once, because a corpus has thousands of files in it.
    """
    real_root = os.path.realpath(root)

    @cache
    def is_outside(path: str) -> bool:
        return not Path(os.path.realpath(root / path)).is_relative_to(real_root)

    def leads_outside(path: str) -> bool:
        is_link = os.path.islink(root / path)  # noqa: PTH114 - Path.is_symlink raises for a long name
        return is_outside(path.rpartition("/")[0]) or (is_link and is_outside(path))

    return leads_outside
