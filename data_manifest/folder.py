"""A user's own corpus as a folder tree: `root/{emotion}/{speaker}_{anything}.mp4`."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifest.findings import Candidate, Findings, media_files
from pipeline.params import Config, check


class FolderOptions(Config):
    """The options of the adapter: there are none."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return the media files below `root`, labelled by their folders and names."""
    check(dict(options), FolderOptions, where="corpora.….options")
    findings = Findings()
    for path in media_files(root):
        parts = PurePosixPath(path).parts
        speaker, separator, _ = PurePosixPath(path).stem.partition("_")
        if len(parts) < 2:
            findings.leftovers[path] = "lies in no emotion's folder"
        elif not separator or not speaker:
            findings.leftovers[path] = "its name does not begin with a speaker and _"
        else:
            findings.candidates.append(Candidate(path=path, emotion=parts[0].lower(), speaker=speaker))
    return findings
