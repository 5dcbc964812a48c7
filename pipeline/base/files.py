"""The cache folder, atomic writes and checksums."""

import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """Return the folder named by `$FDAN_CACHE`; by default, `fdan` in the user's cache folder."""
    return Path(os.environ.get("FDAN_CACHE") or user_cache_path("fdan"))


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; if the block succeeds, flush the file and rename it to `path`.

    If the block fails, `path` stays as it was and the temporary file is deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, because some writers choose the format by it.
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class DeferredErrors(io.FileIO):
    """A new file that stores its first write error in `error`, because HDF5 crashes the process if a write raises."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`; on an error, store it and report success."""
        view, done = memoryview(data).cast("B"), 0
        try:
            while done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self.error = self.error or error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Change the file's length; on an error, store it and report success."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def file_sha256(*paths: Path) -> str:
    """Return the sha256 of the concatenated bytes of the files."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()
