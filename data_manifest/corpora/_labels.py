"""Label tables that are published with a corpus, read from below its root or from a given folder."""

import csv
import io
from collections.abc import Collection
from pathlib import Path

from pipeline.base.errors import CorpusError


def note_untracked_tables(root: Path, folder: str) -> list[str]:
    """Return a note if the folder of label tables is outside the root: DVC tracks only files below the root."""
    if not folder or (root / folder).resolve().is_relative_to(root.resolve()):
        return []
    return [f"the tables in {folder} are outside the corpus's root, so DVC does not track them; copy them into {root}"]


def read_labels(root: Path, name: str, columns: Collection[str], *, folder: str) -> list[dict[str, str]]:
    """Return the given columns of a CSV file, one dict per row; raise if the file or a column is missing.

    `folder` is absolute or relative to the root; if it is empty, the file is searched for below the root.
    """
    paths = [root / folder / name] if folder else sorted(root.rglob(name))
    if not paths or not paths[0].is_file():
        where = f"in {root / folder}" if folder else f"below {root}"
        raise CorpusError(f"{name} not found {where}; set options.tables to the folder that contains it")
    content = paths[0].read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # older copies of these tables contain curly quotes in Windows encoding
        text = content.decode("cp1252", errors="replace")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = sorted(set(columns) - set(reader.fieldnames or ()))
    if missing:
        raise CorpusError(f"{paths[0]} lacks the columns {', '.join(missing)}; use the table that the corpus publishes")
    try:
        return [{column: row[column] or "" for column in columns} for row in reader]
    except csv.Error as error:
        raise CorpusError(f"{paths[0]} is not a readable CSV file: {error}") from error
