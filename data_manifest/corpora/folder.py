"""A user's own corpus as a folder tree: `root/{emotion}/{speaker}_{anything}.mp4`."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_manifest.corpora.findings import Candidate, Findings, media_files, pair
from pipeline.base.params import Config, check


class FolderOptions(Config):
    """The options of the adapter: there are none."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return the media files below `root`, labelled by their folders and names; film and sound of one name are one."""
    check(dict(options), FolderOptions, where="options")
    findings = Findings(expected_names="{emotion}/{speaker}_{anything}, as in anger/anna_1.mp4")
    clips: dict[str, list[str]] = defaultdict(list)
    for path in media_files(root):
        name = path.rpartition(".")[0]
        speaker, separator, _ = name.rpartition("/")[2].partition("_")
        if "/" not in name:
            findings.left_out[path] = "lies in no emotion's folder"
        elif not separator or not speaker:
            findings.left_out[path] = "its name does not begin with a speaker and _"
        else:
            clips[name].append(path)
    for name, paths in clips.items():
        path, sound, surplus = pair(paths)
        findings.left_out |= surplus
        emotion, speaker = name.partition("/")[0].lower(), name.rpartition("/")[2].partition("_")[0]
        findings.candidates.append(Candidate(path, emotion, speaker, audio_path=sound))
    return findings
