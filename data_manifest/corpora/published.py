"""Media files compared with the checksums that a corpus's publisher gives."""

import csv
import io
import lzma
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import CorpusError
from pipeline.base.text import one_line


@dataclass(frozen=True)
class PublishedFile:
    """A file as published: its path in the corpus, its size, and its sha256 or the first digits of it."""

    path: str
    size_bytes: int
    sha256: str


class PublishedFiles:
    """All files of a corpus as published. On disk they may be in other folders, but their names are kept."""

    def __init__(self, files: Sequence[PublishedFile]) -> None:
        """Index the files by path, by name unless several have it, and by checksum."""
        names = Counter(_name(it.path) for it in files)
        self._by_path = {it.path: it for it in files}
        self._by_name = {_name(it.path): it for it in files if names[_name(it.path)] == 1}
        self._by_sha256 = {it.sha256: it for it in reversed(files)}
        self._digits = min((len(it.sha256) for it in files), default=0)

    def lookup(self, path: str) -> PublishedFile | None:
        """Return the file that was published under this path or name, or None."""
        return self._by_path.get(path) or self._by_name.get(_name(path))

    def difference(self, path: str, *, sha256: str, size_bytes: int) -> str:
        """Return how a file on disk differs from the published one, or ""; also "" if none has its name or bytes."""
        expected, original = self.lookup(path), self._by_sha256.get(sha256[: self._digits])
        if expected and sha256.startswith(expected.sha256):
            return ""
        if original:
            return f"it holds the bytes of the published {original.path}"
        if not expected:
            return ""
        if size_bytes < expected.size_bytes:
            return f"it is cut short: it has {size_bytes} of {expected.size_bytes} bytes"
        sizes = f"{size_bytes} bytes, not {expected.size_bytes}, and " if size_bytes != expected.size_bytes else ""
        return f"it has {sizes}the sha256 {sha256[: len(expected.sha256)]}…, not {expected.sha256}…, as published"


def read_published_files(table: Path) -> PublishedFiles:
    """Return the files in a table `path, bytes, sha256`, as CSV or compressed with xz; raise `CorpusError`."""
    try:
        content = table.read_bytes()
        text = (lzma.decompress(content) if table.suffix == ".xz" else content).decode()
        rows = csv.DictReader(io.StringIO(text))
        return PublishedFiles([PublishedFile(row["path"], int(row["bytes"]), row["sha256"]) for row in rows])
    except (OSError, ValueError, KeyError, TypeError, lzma.LZMAError) as error:
        raise CorpusError(
            f"{table} is not a table of checksums ({one_line(str(error))}); it needs the columns path, bytes, sha256"
        ) from error


def _name(path: str) -> str:
    return path.rpartition("/")[2]
