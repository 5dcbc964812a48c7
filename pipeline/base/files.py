"""The cache folder, careful reading, atomic writes and checksums."""

import errno
import hashlib
import io
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from platformdirs import user_cache_path

from pipeline.base.errors import DISK_FULL, ParameterError, PipelineError

MAX_BYTES = 1 << 30  # of a file that is read into memory at once: a table of three million clips
NAME_CHARACTERS = 50  # of a file's name in that of its temporary file: a name has at most 255 bytes


def cache_folder() -> Path:
    """Return the folder named by `$FDAN_CACHE`; by default, `fdan` in the user's cache folder. It need not exist.

    Raise `ParameterError` if there is something else of that name.
    """
    folder = Path(os.environ.get("FDAN_CACHE") or user_cache_path("fdan"))
    if os.path.lexists(folder) and not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a long name
        raise ParameterError(f"the cache {folder} is not a folder; set FDAN_CACHE to one")
    return folder


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; raise `OSError` for a pipe or a device, whose reading may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")


def read_file(path: Path, *, raises: type[PipelineError], fix: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a regular file; whatever is wrong with it is one line, which ends with `fix`."""
    try:
        with open_regular(path) as file:
            # `read(n)` would allocate n bytes at once
            content = file.read() if os.fstat(file.fileno()).st_size <= max_bytes else None
    except FileNotFoundError:
        raise raises(f"{path} does not exist; {fix}") from None
    except OSError as error:
        raise raises(f"{path} cannot be read: {error.strerror}; {fix}") from error
    except ValueError as error:  # a NUL in the path
        raise raises(f"{path} cannot be read: {error}; {fix}") from error
    if content is None:
        raise raises(f"{path} is larger than {max_bytes} bytes; {fix}")
    return content


@contextmanager
def name_full_disk(path: Path, *, temporary: Path | None = None) -> Iterator[None]:
    """Make the error of a full disk name `path`, because errors of writing name no file or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL and error.filename in (None, temporary, str(temporary)):
            error.filename = str(path)
        raise


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; if the block succeeds, flush the file and rename it to `path`.

    If the block fails, `path` stays as it was and the temporary file is deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, because some writers choose the format by it.
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name[-NAME_CHARACTERS:]}")
    try:
        with name_full_disk(path, temporary=temporary):
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
    """Return the sha256 of the concatenated bytes of the files, which must be regular."""
    total = hashlib.sha256()
    for path in paths:
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()
