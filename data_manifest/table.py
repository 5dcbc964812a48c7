"""A user's own corpus as a table: a CSV with `path, emotion, speaker` and optionally `split, sentence, audio_path`."""

import csv
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from data_manifest.findings import Candidate, Findings, media_files
from pipeline.errors import CorpusError
from pipeline.params import Config, check

REQUIRED = {"path", "emotion", "speaker"}
ALLOWED = {column.name for column in fields(Candidate)}


class TableOptions(Config):
    """The options of the adapter."""

    table: str = "clips.csv"  # relative to the root; so are the paths in it


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return the clips that the table lists; media files that it does not list, and listed ones that are not there."""
    config = check(dict(options), TableOptions, where="corpora.….options")
    findings = Findings()
    listed: set[str] = set()
    for row in _rows(root / config.table):
        candidate = Candidate(**row)
        missing = [file for file in candidate.files(root) if not file.is_file()]
        listed.update((candidate.path, candidate.audio_path))
        if missing:
            findings.leftovers[candidate.path] = f"listed in {config.table}, but {missing[0].name} is not there"
        else:
            findings.candidates.append(candidate)
    findings.leftovers |= {path: f"not listed in {config.table}" for path in media_files(root) if path not in listed}
    return findings


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = set(reader.fieldnames or ())
            if not REQUIRED <= names <= ALLOWED:
                raise CorpusError(
                    f"{path} has the columns {sorted(names)}; it needs {sorted(REQUIRED)} "
                    f"and may have {sorted(ALLOWED - REQUIRED)}"
                )
            return list(reader)
    except FileNotFoundError:
        raise CorpusError(f"{path} is not there; name the table in the corpus's options") from None
