"""A user's own corpus as a folder tree: `root/{emotion}/{speaker}_{anything}.mp4`."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_manifest.corpora.contract import Candidate, Findings, choose_video_and_audio, media_files
from pipeline.base.params import Config, check


class FolderOptions(Config):
    """The adapter takes no options."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return clips labelled by their folders and names; video and audio files of one name are one clip."""
    check(dict(options), FolderOptions, where="options")
    findings = Findings(expected_names="{emotion}/{speaker}_{anything}, as in anger/anna_1.mp4")
    clips: dict[str, list[str]] = defaultdict(list)
    for path in media_files(root):
        name = path.rpartition(".")[0]
        speaker, separator, _ = name.rpartition("/")[2].partition("_")
        if "/" not in name:
            findings.left_out[path] = "not in an emotion's folder"
        elif not separator or not speaker:
            findings.left_out[path] = "its name does not start with a speaker and _"
        else:
            clips[name].append(path)
    for name, paths in clips.items():
        path, audio, surplus = choose_video_and_audio(paths)
        findings.left_out |= surplus
        emotion, speaker = name.partition("/")[0].lower(), name.rpartition("/")[2].partition("_")[0]
        findings.candidates.append(Candidate(path, emotion, speaker, audio_path=audio))
    return findings
