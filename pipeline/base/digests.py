"""The sha256 of files, remembered: a corpus of 25 GB is read once, not at every run.

A digest is known again by the file's path, size, time of change and inode, as git does it. What changed in the
last moments is not remembered: a second change might leave its time as it is.
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

SETTLED_NS = 2 * 10**9
BUSY_S = 60  # how long to wait for another run that is writing
PATHS_A_QUERY = 500
KEPT_AT_ONCE = 100
TABLE = "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL)"


def cached_sha256(paths: Sequence[Path]) -> Generator[str]:
    """Yield the sha256 of each file, in order; what is not remembered is read, in a thread for each core."""
    file = cache_folder() / "digests.sqlite"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, timeout=BUSY_S)) as database:
            database.execute(TABLE)
            yield from _digests([str(path.absolute()) for path in paths], database)
    except sqlite3.Error as error:
        raise PipelineError(f"cannot keep digests in {file}: {error}; name another folder in FDAN_CACHE") from error


def _digests(paths: Sequence[str], database: sqlite3.Connection) -> Generator[str]:
    states = [_settled(path) for path in paths]
    known = _remembered(paths, database)
    fresh: list[tuple[str, str, str]] = []
    pool = ThreadPoolExecutor(os.cpu_count())

    def start(path: str, settled: str) -> str | Future[str]:
        known_state, digest = known.get(path, ("", ""))
        return digest if settled and settled == known_state else pool.submit(file_sha256, Path(path))

    try:
        started = [start(path, settled) for path, settled in zip(paths, states, strict=True)]
        for path, settled, digest in zip(paths, states, started, strict=True):
            content = digest if isinstance(digest, str) else digest.result()
            if settled and content is not digest:
                fresh.append((path, settled, content))
            yield content
            if len(fresh) == KEPT_AT_ONCE:  # a run that is killed keeps most of what it has
                _keep(fresh, database)
    finally:
        pool.shutdown(cancel_futures=True)
        _keep(fresh, database)


def _keep(fresh: list[tuple[str, str, str]], database: sqlite3.Connection) -> None:
    database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", fresh)
    database.commit()
    fresh.clear()


def file_state(path: Path | str) -> str:
    """Return what tells a file from its next version; nothing where it is not there."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _settled(path: str) -> str:
    """Return a file's state; nothing while a change could go unseen."""
    return file_state(path) if Path(path).stat().st_mtime_ns <= time.time_ns() - SETTLED_NS else ""


def _remembered(paths: Sequence[str], database: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Return state and sha256 of those of the paths that are known."""
    known: dict[str, tuple[str, str]] = {}
    for start in range(0, len(paths), PATHS_A_QUERY):
        some = paths[start : start + PATHS_A_QUERY]
        places = ",".join("?" * len(some))
        rows = database.execute(f"SELECT path, state, sha256 FROM digests WHERE path IN ({places})", some)
        known |= {path: (settled, digest) for path, settled, digest in rows}
    return known
