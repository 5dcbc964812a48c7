"""The sha256 of media files, with a progress bar: the first reading of a corpus takes minutes."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.base.digests import cached_sha256
from pipeline.parallel.progress import progress_bar


def media_checksums(paths: Sequence[Path], *, title: str) -> dict[Path, str]:
    """Return the sha256 of each file's bytes."""
    checksums = {}
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(paths), summary="")
        for path, checksum in zip(paths, cached_sha256(paths), strict=True):
            checksums[path] = checksum
            bar.advance(task)
    return checksums
