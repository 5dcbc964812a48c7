"""A user's own corpus as a CSV table: `path, emotion, speaker` and optionally `split, sentence, audio_path`."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from data_manifest.corpora.contract import Candidate, Findings, media_files, refuse_outside_link
from data_manifest.manifest.paths import is_below
from pipeline.base.errors import CorpusError
from pipeline.base.params import Config, check
from pipeline.base.selection import shorten
from pipeline.base.tables import read_table

REQUIRED = {"path", "emotion", "speaker"}
ALLOWED = REQUIRED | {"split", "sentence", "audio_path"}


class TableOptions(Config):
    """The options of the adapter."""

    table: str = "clips.csv"
    """The CSV table, relative to the root, as are the paths in it."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return the clips in the table; leave out unlisted media, missing files and rows without a label."""
    config = check(dict(options), TableOptions, where="options")
    findings = Findings()
    listed: set[str] = set()
    for line, row in _read_rows(root, config.table):
        candidate = Candidate(
            row["path"],
            row["emotion"].lower(),
            row["speaker"],
            sentence=row["sentence"],
            split=row["split"],
            audio_path=row["audio_path"],
        )
        listed |= set(candidate.files)
        blank = [name for name in sorted(REQUIRED) if not getattr(candidate, name)]
        present = [file for file in candidate.files if os.path.lexists(root / file)]
        if blank:
            reason = f"has no {' and no '.join(blank)} in {config.table}"
            findings.left_out |= dict.fromkeys(candidate.files or [f"{config.table}, line {line}"], reason)
            continue
        missing = [file for file in candidate.files if file not in present]
        findings.left_out |= dict.fromkeys(missing, f"listed in {config.table}, but missing")
        if present:  # one of the two files is enough for a clip
            findings.candidates.append(replace(candidate, path=present[0], audio_path="".join(present[1:])))
    findings.left_out |= {path: f"not listed in {config.table}" for path in media_files(root) if path not in listed}
    return findings


def _read_rows(root: Path, name: str) -> list[tuple[int, dict[str, str]]]:
    """Return the line number and the values of each row."""
    path = root / name
    if not os.path.lexists(path):
        present = shorten(sorted(it.name for it in root.iterdir()))
        raise CorpusError(f"{path} not found; set options.table to one of the files in {root}: {present}")
    refuse_outside_link(root, path)
    columns, rows = read_table(path, raises=CorpusError, fix="set options.table to a CSV file")
    if not REQUIRED <= set(columns) <= ALLOWED:
        raise CorpusError(
            f"{path} has the columns {sorted(columns)}; it needs {sorted(REQUIRED)} "
            f"and may have {sorted(ALLOWED - REQUIRED)}"
        )
    return [(line, _clean_row(root, values, f"{path}, line {line}")) for line, values in rows]


def _clean_row(root: Path, row: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the values, with paths normalised as in `media_files`: a.mp4 instead of ./b/../a.mp4."""
    values = {name: row.get(name, "").strip() for name in ALLOWED}
    for name in ("path", "audio_path"):
        if values[name]:
            below = os.path.relpath(root / values[name], root)
            if not is_below(below):
                raise CorpusError(f"{where}: {values[name]} is not below {root}; move the file there")
            values[name] = PurePath(below).as_posix()
    return values
