"""Where the project keeps files, and how it writes them: whole, or not at all."""

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
    """Return `$FDAN_CACHE`, by default a folder in the user's cache folder."""
    return Path(os.environ.get("FDAN_CACHE") or user_cache_path("fdan"))


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; flush it and rename it to `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays: some writers choose the format by it.
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class DeferredErrors(io.FileIO):
    """A new file whose write errors wait in `failed`: HDF5 takes the whole process down when a write fails."""

    failed: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, or keep the error and say that it was done."""
        view, done = memoryview(data).cast("B"), 0
        try:
            while done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self.failed = self.failed or error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Change the file's length, or keep the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failed = self.failed or error
            return size or 0


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def file_sha256(*paths: Path) -> str:
    """Return the sha256 of the files' bytes, one after the other."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()
