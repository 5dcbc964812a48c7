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

from pipeline.errors import PipelineError
from pipeline.files import cache_folder, file_digest

SETTLED_NS = 2 * 10**9
BUSY_S = 60  # how long to wait for another run that is writing
TABLE = "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL)"


def digests(paths: Sequence[Path]) -> Generator[str]:
    """Yield the sha256 of each file, in order; what is not remembered is read, in a thread for each core."""
    file = cache_folder() / "digests.sqlite"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, timeout=BUSY_S)) as database:
            database.execute(TABLE)
            yield from _digests(paths, database)
    except sqlite3.Error as error:
        raise PipelineError(f"cannot keep digests in {file}: {error}; name another folder in FDAN_CACHE") from error


def _digests(paths: Sequence[Path], database: sqlite3.Connection) -> Generator[str]:
    fresh: list[tuple[str, str, str]] = []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for path, state, digest in [_start(path, database, pool) for path in paths]:
            if isinstance(digest, Future):
                content = digest.result()
                if state:
                    fresh.append((str(path.absolute()), state, content))
                yield content
            else:
                yield digest
    finally:  # a run that is stopped half-way keeps what it has
        pool.shutdown(cancel_futures=True)
        database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", fresh)
        database.commit()


def _start(path: Path, database: sqlite3.Connection, pool: ThreadPoolExecutor) -> tuple[Path, str, str | Future[str]]:
    """Return the path, its state (empty while a change could go unseen), and its digest, maybe later."""
    found = path.stat()
    settled = found.st_mtime_ns < time.time_ns() - SETTLED_NS
    state = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}" if settled else ""
    row = database.execute("SELECT state, sha256 FROM digests WHERE path = ?", (str(path.absolute()),)).fetchone()
    return path, state, row[1] if row and row[0] == state else pool.submit(file_digest, path)
