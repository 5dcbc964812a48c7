"""A user's own corpus as a table: a CSV with `path, emotion, speaker` and optionally `split, sentence, audio_path`."""

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifest.findings import Candidate, Findings, media_files
from pipeline.errors import CorpusError
from pipeline.params import Config, check

REQUIRED = {"path", "emotion", "speaker"}
ALLOWED = REQUIRED | {"split", "sentence", "audio_path"}


class TableOptions(Config):
    """The options of the adapter."""

    table: str = "clips.csv"  # relative to the root; so are the paths in it


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return the clips that the table lists; media files that it does not list, and listed ones that are not there."""
    config = check(dict(options), TableOptions, where="options")
    findings = Findings()
    listed: set[str] = set()
    for line, row in _rows(root / config.table):
        candidate = Candidate(**row | {"emotion": row["emotion"].strip().lower(), "speaker": row["speaker"].strip()})
        missing = [file for file in candidate.files if not (root / file).is_file()]
        listed.update((candidate.path, candidate.audio_path))
        blank = [name for name in sorted(REQUIRED) if not row[name].strip()]
        if blank:
            place = candidate.path or f"{config.table}, line {line}"
            findings.leftovers[place] = f"has no {' and no '.join(blank)} in {config.table}"
        elif missing:
            findings.leftovers[candidate.path] = f"listed in {config.table}, but {missing[0]} is not there"
        else:
            findings.candidates.append(candidate)
    findings.leftovers |= {path: f"not listed in {config.table}" for path in media_files(root) if path not in listed}
    return findings


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows, each with the number of its line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = set(reader.fieldnames or ())
            if not REQUIRED <= names <= ALLOWED:
                raise CorpusError(
                    f"{path} has the columns {sorted(names)}; it needs {sorted(REQUIRED)} "
                    f"and may have {sorted(ALLOWED - REQUIRED)}"
                )
            return [(reader.line_num, _row(row, f"{path}, line {reader.line_num}")) for row in reader]
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not in UTF-8 ({error}); save it so") from error
    except FileNotFoundError:
        raise CorpusError(f"{path} is not there; name the table in the corpus's options") from None


def _row(row: dict[str | None, Any], where: str) -> dict[str, str]:
    """Return the row, what it lacks empty, its paths spelt as `media_files` spells them: a.mp4, not ./a.mp4."""
    values = {name: value or "" for name, value in row.items() if name is not None}
    if None in row:
        raise CorpusError(f"{where}: it has more values than there are columns; put quotes round a value with a comma")
    paths = {name: PurePosixPath(values[name]).as_posix() for name in ("path", "audio_path") if values.get(name)}
    return values | paths
