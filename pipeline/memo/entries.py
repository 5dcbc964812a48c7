"""The memo: every per-clip result, kept under a name made from all that shaped it.

An entry is one file: the sha256 of its payload, then the payload (safetensors). It is written under a temporary
name, flushed and renamed, so a reader sees a whole entry or none; on reading, the checksum decides whether it
is good. A spoiled entry counts as absent and is replaced by the next write.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pipeline.base.errors import PipelineError
from pipeline.base.files import atomic_write, cache_folder
from pipeline.store.columns import Arrays

CHECKSUM_BYTES = 32
DAY_S = 86400
log = logging.getLogger(__name__)


class Memo:
    """A folder of results, `step/ab/abcd….entry`; many processes may use one folder at once."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open the memo in `folder`, by default in the cache folder."""
        self.folder = folder or cache_folder() / "memo"

    def path(self, step: str, key: str) -> Path:
        """Return where the entry of this key lies, whether it is there or not."""
        return Path(self.folder, step, key[:2], f"{key}.entry")

    def read(self, step: str, key: str) -> Arrays | None:
        """Return the result, or None where there is no entry or a spoiled one."""
        path = self.path(step, key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PipelineError(
                f"cannot read the memo {self.folder}: {error.strerror}; name another folder in FDAN_CACHE"
            ) from error
        checksum, payload = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
        if hashlib.sha256(payload).digest() != checksum:
            log.warning("the memo entry %s is damaged; it is computed again", path)
            return None
        try:
            arrays: Arrays = load(payload)
        except SafetensorError:
            log.warning("the memo entry %s cannot be read; it is computed again", path)
            return None
        return arrays

    def write(self, step: str, key: str, arrays: Arrays) -> None:
        """Keep a result; the entry appears whole or not at all."""
        path = self.path(step, key)
        payload = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
        try:
            with atomic_write(path) as temporary:
                temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
        except OSError as error:
            raise PipelineError(
                f"cannot write to the memo {self.folder}: {error.strerror}; "
                "make room, or name another folder in FDAN_CACHE"
            ) from error

    def entries(self) -> list["Entry"]:
        """Return what lies in the memo, the oldest first."""
        found = []
        try:
            if self.folder.exists():
                next(self.folder.iterdir(), None)  # what may not be read would look empty
            for path in self.folder.glob("*/*/*"):
                try:
                    state = path.stat()
                except FileNotFoundError:  # another process has replaced or pruned it
                    continue
                found.append(Entry(path, path.parent.parent.name, state.st_size, state.st_mtime))
        except OSError as error:
            raise PipelineError(f"cannot read the memo {self.folder}: {error.strerror}") from error
        return sorted(found, key=lambda entry: (entry.written_s, entry.path))

    def remove(self, entries: Iterable["Entry"]) -> None:
        """Delete entries; another process may have done so."""
        try:
            for entry in entries:
                entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise PipelineError(f"cannot prune the memo {self.folder}: {error.strerror}") from error


class Entry(NamedTuple):
    """A file of the memo."""

    path: Path
    step: str
    size_bytes: int
    written_s: float  # since 1970

    @property
    def abandoned(self) -> bool:
        """Whether it was left half-written, by a process that was killed."""
        return self.path.suffix != ".entry" or self.path.name.startswith(".")


def to_prune(
    entries: Sequence[Entry], *, now_s: float, older_than_s: float | None, max_bytes: float | None
) -> list[Entry]:
    """Return the entries that are too old, and of the rest the oldest until no more than `max_bytes` are left.

    `entries` come the oldest first. What is half-written goes after a day, when no one can be writing it.
    """
    limits = {True: DAY_S, False: older_than_s}
    old = [
        entry for entry in entries if (limit := limits[entry.abandoned]) is not None and now_s - entry.written_s > limit
    ]
    gone = set(old)
    rest = [entry for entry in entries if entry not in gone and not entry.abandoned]
    left = sum(entry.size_bytes for entry in rest)
    for entry in rest:
        if max_bytes is None or left <= max_bytes:
            break
        old.append(entry)
        left -= entry.size_bytes
    return old
