"""EmoDB: ten German speakers, audio only, 535 clips, seven emotions (boredom instead of surprise).

The pipeline has no label for boredom: `manifest.merge: {boredom: neutral}` keeps these clips.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifest.corpora.contract import Candidate, Findings, media_files
from pipeline.base.params import Config, check

NAME = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z])")
EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
CLIPS = 535


class EmodbOptions(Config):
    """The adapter takes no options."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return EmoDB's clips."""
    check(dict(options), EmodbOptions, where="options")
    findings = Findings(expected_names="03a01Fa.wav: speaker, text, emotion, version")
    first_paths: dict[str, str] = {}
    for path in media_files(root):
        match = NAME.fullmatch(PurePosixPath(path).stem)
        if match and first_paths.setdefault(match[0], path) != path:
            findings.left_out[path] = f"the same clip as {first_paths[match[0]]}"
        elif match:
            speaker, text, emotion, _ = match.groups()
            findings.candidates.append(Candidate(path, EMOTIONS[emotion], speaker, sentence=text, name=match[0]))
        else:
            findings.left_out[path] = "not an EmoDB file name"
    if len(findings.candidates) != CLIPS:
        findings.notes.append(f"EmoDB: {len(findings.candidates)} of {CLIPS} clips")
    return findings
