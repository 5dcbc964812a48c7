"""Label tables that come with a corpus: found below its root or where the options say, and read as they are."""

import csv
import io
from collections.abc import Collection
from pathlib import Path

from pipeline.base.errors import CorpusError


def untracked(root: Path, folder: str) -> list[str]:
    """Return a line where label tables lie outside the root: DVC watches what lies below it."""
    if not folder or (root / folder).resolve().is_relative_to(root.resolve()):
        return []
    return [f"the tables in {folder} lie outside the corpus's root, where DVC sees no change of them; copy them there"]


def read_labels(root: Path, name: str, columns: Collection[str], *, folder: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file, which must have the columns.

    It lies in `folder` (absolute, or relative to the root), or, where that is empty, anywhere below the root.
    """
    found = [root / folder / name] if folder else sorted(root.rglob(name))
    if not found or not found[0].is_file():
        where = f"in {root / folder}" if folder else f"below {root}"
        raise CorpusError(f"{name} is not there: looked for {where}; say in options.tables which folder holds it")
    content = found[0].read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # older copies of such tables hold curly quotes as Windows writes them
        text = content.decode("cp1252", errors="replace")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    lacking = sorted(set(columns) - set(reader.fieldnames or ()))
    if lacking:
        raise CorpusError(f"{found[0]} is not the table it should be: it lacks the columns {', '.join(lacking)}")
    try:
        return [{column: row[column] or "" for column in columns} for row in reader]
    except csv.Error as error:
        raise CorpusError(f"{found[0]} is no CSV that can be read: {error}") from error
