"""The sha256 of media files, with a bar: those of a corpus that was never read take minutes."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.base.digests import cached_sha256
from pipeline.parallel.progress import progress_bar


def media_checksums(paths: Sequence[Path], *, title: str) -> dict[Path, str]:
    """Return the sha256 of each file's bytes."""
    found = {}
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(paths), summary="")
        for path, digest in zip(paths, cached_sha256(paths), strict=True):
            found[path] = digest
            bar.advance(task)
    return found
