"""A user's own corpus as a CSV table: `path, emotion, speaker` and optionally `split, sentence, audio_path`."""

import csv
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from data_manifest.corpora.contract import Candidate, Findings, media_files
from pipeline.base.errors import CorpusError
from pipeline.base.params import Config, check
from pipeline.base.selection import shorten

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
            sentence=row.get("sentence", ""),
            split=row.get("split", ""),
            audio_path=row.get("audio_path", ""),
        )
        listed |= set(candidate.files)
        blank = [name for name in sorted(REQUIRED) if not getattr(candidate, name)]
        present = [file for file in candidate.files if (root / file).is_file()]
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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = set(reader.fieldnames or ())
            if not REQUIRED <= names <= ALLOWED:
                raise CorpusError(
                    f"{path} has the columns {sorted(names)}; it needs {sorted(REQUIRED)} "
                    f"and may have {sorted(ALLOWED - REQUIRED)}"
                )
            return [(reader.line_num, _clean_row(root, row, f"{path}, line {reader.line_num}")) for row in reader]
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not in UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise CorpusError(f"{path} is not a readable CSV file: {error}") from error
    except FileNotFoundError:
        present = shorten(sorted(it.name for it in root.iterdir()))
        raise CorpusError(f"{path} not found; set options.table to one of the files in {root}: {present}") from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from error


def _clean_row(root: Path, row: dict[str | None, Any], where: str) -> dict[str, str]:
    """Return the values, "" if missing, with paths normalised as in `media_files`: a.mp4 instead of ./b/../a.mp4."""
    values = {name: (value or "").strip() for name, value in row.items() if name is not None and name in ALLOWED}
    if None in row:
        raise CorpusError(f"{where}: more values than columns; put a value that contains a comma in quotes")
    for name in ("path", "audio_path"):
        if values.get(name):
            below = os.path.relpath(root / values[name], root)
            if below.startswith(".."):
                raise CorpusError(f"{where}: {values[name]} is not below {root}; move the file there")
            values[name] = PurePath(below).as_posix()
    return values
