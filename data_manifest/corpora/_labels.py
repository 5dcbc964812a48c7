"""Label tables that are published with a corpus, read from below its root or from a given folder."""

import os
from collections.abc import Collection
from pathlib import Path

from data_manifest.corpora.contract import refuse_outside_link
from pipeline.base.errors import CorpusError
from pipeline.base.tables import read_table


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
    if not paths or not os.path.lexists(paths[0]):
        where = f"in {root / folder}" if folder else f"below {root}"
        raise CorpusError(f"{name} not found {where}; set options.tables to the folder that contains it")
    refuse_outside_link(root, paths[0])
    fix = "use the table that the corpus publishes"
    # Older copies of these tables contain curly quotes in Windows encoding.
    names, rows = read_table(paths[0], raises=CorpusError, fix=fix, fallback_encoding="cp1252")
    if missing := sorted(set(columns) - set(names)):
        raise CorpusError(f"{paths[0]} lacks the columns {', '.join(missing)}; {fix}")
    return [{column: values.get(column, "") for column in columns} for _, values in rows]
