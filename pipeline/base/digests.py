"""A cache of the sha256 of files, so that a corpus of 25 GB is read once, not at every run.

As in git, an unchanged path, size, modification time, change time and inode mean an unchanged file. A file that
changed in the last two seconds is not cached: a second change might leave its time as it is.
"""

import os
import sqlite3
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.files import cache_folder, file_sha256

MIN_AGE_NS = 2 * 10**9
LOCK_TIMEOUT_S = 60  # how long to wait for another run that is writing
PATHS_PER_QUERY = 500
SAVE_EVERY = 100
TABLE = "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL)"


def cached_sha256(paths: Sequence[Path]) -> Generator[str]:
    """Yield the sha256 of each file, in order; files that are not cached are read, with one thread per core.

    Raise `PipelineError` if the cache cannot be used, or if a file cannot be read or is no regular file.
    """
    file = cache_folder() / "digests.sqlite"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipelineError(
            f"cannot use the cache {file.parent}: {error.strerror}; set FDAN_CACHE to another folder"
        ) from error
    try:
        with closing(sqlite3.connect(file, timeout=LOCK_TIMEOUT_S)) as database:
            database.execute(TABLE)
            yield from _digests([str(path.absolute()) for path in paths], database)
    except sqlite3.Error as error:
        raise PipelineError(
            f"cannot use the checksum cache {file}: {error}; delete the file, or set FDAN_CACHE to another folder"
        ) from error


def _digests(paths: Sequence[str], database: sqlite3.Connection) -> Generator[str]:
    states = [_cacheable_state(path) for path in paths]
    cached = _read_cache(paths, database)
    unsaved: list[tuple[str, str, str]] = []
    pool = ThreadPoolExecutor(os.cpu_count())

    def start(path: str, state: str) -> str | Future[str]:
        cached_state, sha256 = cached.get(_key(path), ("", ""))
        return sha256 if state and state == cached_state else pool.submit(file_sha256, Path(path))

    try:
        started = [start(path, state) for path, state in zip(paths, states, strict=True)]
        for path, state, digest in zip(paths, states, started, strict=True):
            sha256 = digest if isinstance(digest, str) else _wait(digest, path)
            if state and sha256 is not digest:
                unsaved.append((_key(path), state, sha256))
            yield sha256
            if len(unsaved) == SAVE_EVERY:  # so that a killed run keeps most of its digests
                _save(unsaved, database)
    finally:
        pool.shutdown(cancel_futures=True)
        _save(unsaved, database)


def _wait(digest: Future[str], path: str) -> str:
    try:
        return digest.result()
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from error


def _key(path: str) -> str:
    """Return the path as the database stores it, in UTF-8; a folder's name may be in another encoding."""
    return path.encode(errors="backslashreplace").decode()


def _save(unsaved: list[tuple[str, str, str]], database: sqlite3.Connection) -> None:
    database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", unsaved)
    database.commit()
    unsaved.clear()


def file_state(path: Path | str) -> str:
    """Return size, times and inode of a file, which change whenever the file does; empty if it cannot be reached."""
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _cacheable_state(path: str) -> str:
    """Return a file's state; empty if it is so new that a further change could go unnoticed, or cannot be reached."""
    try:
        is_old = Path(path).stat().st_mtime_ns <= time.time_ns() - MIN_AGE_NS
    except OSError:
        return ""
    return file_state(path) if is_old else ""


def _read_cache(paths: Sequence[str], database: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Return the state and the sha256 of every path that is cached."""
    cached: dict[str, tuple[str, str]] = {}
    for start in range(0, len(paths), PATHS_PER_QUERY):
        batch = [_key(path) for path in paths[start : start + PATHS_PER_QUERY]]
        placeholders = ",".join("?" * len(batch))
        rows = database.execute(f"SELECT path, state, sha256 FROM digests WHERE path IN ({placeholders})", batch)
        cached |= {path: (state, sha256) for path, state, sha256 in rows}
    return cached
