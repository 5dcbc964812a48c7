"""The sha256 of media files, with a bar: those of a corpus that was never read take minutes."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.digests import digests
from pipeline.extraction import progress


def sums(paths: Sequence[Path], *, title: str) -> dict[Path, str]:
    """Return the sha256 of each file's bytes."""
    found = {}
    with progress() as bar:
        task = bar.add_task(title, total=len(paths), told="")
        for path, digest in zip(paths, digests(paths), strict=True):
            found[path] = digest
            bar.advance(task)
    return found
