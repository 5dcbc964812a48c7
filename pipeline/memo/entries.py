"""The memo: a content-addressed cache of per-clip results.

An entry is one file: the sha256 of the payload, then the payload (safetensors). Writes are atomic, so a reader sees
a complete entry or none, and each read verifies the checksum. A damaged entry counts as missing; the next write
replaces it.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pipeline.base.errors import PipelineError
from pipeline.base.files import atomic_write, cache_folder
from pipeline.store.columns import Arrays

CHECKSUM_BYTES = 32
DAY_S = 86400
LAST_RESULTS = 200  # of a step, whose times say how fast it is
PAUSE_S = 60
log = logging.getLogger(__name__)


class Memo:
    """A folder of entries, `step/ab/abcd….entry`; many processes can use it at once."""

    def __init__(self, folder: Path | None = None) -> None:
        """Open the memo in `folder`, by default in the cache folder."""
        self.folder = folder or cache_folder() / "memo"

    def path(self, step: str, key: str) -> Path:
        """Return the path of the entry with this key, which need not exist."""
        return Path(self.folder, step, key[:2], f"{key}.entry")

    def read(self, step: str, key: str) -> Arrays | None:
        """Return the result, or None if the entry is missing or damaged."""
        path = self.path(step, key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PipelineError(
                f"cannot read the memo {self.folder}: {error.strerror}; set FDAN_CACHE to another folder"
            ) from error
        checksum, payload = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
        if hashlib.sha256(payload).digest() != checksum:
            log.warning("the memo entry %s is damaged; its result is computed again", path)
            return None
        try:
            arrays: Arrays = load(payload)
        except SafetensorError:
            log.warning("the memo entry %s cannot be read; its result is computed again", path)
            return None
        return arrays

    def holds(self, step: str, key: str) -> bool:
        """Return whether there is an entry, which may be damaged."""
        return self.path(step, key).is_file()

    def write(self, step: str, key: str, arrays: Arrays) -> None:
        """Store a result atomically."""
        path = self.path(step, key)
        payload = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
        try:
            with atomic_write(path) as temporary:
                temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
        except OSError as error:
            raise PipelineError(
                f"cannot write to the memo {self.folder}: {error.strerror}; "
                "free some space, or set FDAN_CACHE to another folder"
            ) from error

    def entries(self) -> list["Entry"]:
        """Return all entries, the oldest first."""
        entries = []
        try:
            if self.folder.exists():
                next(self.folder.iterdir(), None)  # raises if the folder is unreadable; `glob` would find nothing
            for path in self.folder.glob("*/*/*"):
                try:
                    status = path.stat()
                except FileNotFoundError:  # another process has replaced or pruned it
                    continue
                entries.append(Entry(path, path.parent.parent.name, status.st_size, status.st_mtime))
        except OSError as error:
            raise PipelineError(f"cannot read the memo {self.folder}: {error.strerror}") from error
        return sorted(entries, key=lambda entry: (entry.written_s, entry.path))

    def remove(self, entries: Iterable["Entry"]) -> None:
        """Delete entries; it is no error if another process has already deleted one."""
        try:
            for entry in entries:
                entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise PipelineError(f"cannot prune the memo {self.folder}: {error.strerror}") from error


def seconds_per_result(entries: Sequence["Entry"], step: str) -> float | None:
    """Return how long a result of a step took when it was last computed, on all workers together; None: unknown.

    `entries` must be sorted, the oldest first. The times between results are measured; longer ones than `PAUSE_S`
    separate two runs.
    """
    written_s = [entry.written_s for entry in entries if entry.step == step and not entry.is_temporary][-LAST_RESULTS:]
    gaps_s = [gap for earlier, later in pairwise(written_s) if (gap := later - earlier) < PAUSE_S]
    return fmean(gaps_s) if gaps_s else None


class Entry(NamedTuple):
    """A file of the memo."""

    path: Path
    step: str
    size_bytes: int
    written_s: float  # since 1970

    @property
    def is_temporary(self) -> bool:
        """Whether this is the temporary file of a write in progress, or of a process that was killed."""
        return self.path.suffix != ".entry" or self.path.name.startswith(".")


def entries_to_prune(
    entries: Sequence[Entry], *, now_s: float, older_than_s: float | None, max_bytes: float | None
) -> list[Entry]:
    """Return the entries that are too old, then the oldest of the rest until at most `max_bytes` remain.

    `entries` must be sorted, the oldest first. Temporary files are pruned after a day, when nobody can still be
    writing them. The clock may have been wrong: an entry from the future is kept, but a temporary file that is more
    than a day away from now, in either direction, is pruned.
    """

    def is_too_old(entry: Entry) -> bool:
        age_s = now_s - entry.written_s
        if entry.is_temporary:
            return abs(age_s) > DAY_S
        return older_than_s is not None and age_s > older_than_s

    pruned = [entry for entry in entries if is_too_old(entry)]
    too_old = set(pruned)
    remaining = [entry for entry in entries if entry not in too_old and not entry.is_temporary]
    remaining_bytes = sum(entry.size_bytes for entry in remaining)
    for entry in remaining:
        if max_bytes is None or remaining_bytes <= max_bytes:
            break
        pruned.append(entry)
        remaining_bytes -= entry.size_bytes
    return pruned
