"""EmoDB: ten German speakers, sound only, 535 clips, seven emotions (boredom, and no surprise).

Boredom is none of the pipeline's emotions: `manifest.merge: {boredom: neutral}` keeps its clips.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifest.corpora.findings import Candidate, Findings, media_files
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
    """The options of the adapter: there are none."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return EmoDB's clips."""
    check(dict(options), EmodbOptions, where="options")
    findings = Findings(expected_names="03a01Fa.wav: speaker, text, emotion, version")
    first: dict[str, str] = {}
    for path in media_files(root):
        match = NAME.fullmatch(PurePosixPath(path).stem)
        if match and first.setdefault(match[0], path) != path:
            findings.left_out[path] = f"the same clip as {first[match[0]]}"
        elif match:
            speaker, text, emotion, _ = match.groups()
            findings.candidates.append(Candidate(path, EMOTIONS[emotion], speaker, sentence=text, name=match[0]))
        else:
            findings.left_out[path] = "its name is not one of EmoDB's"
    if len(findings.candidates) != CLIPS:
        findings.notes.append(f"EmoDB: {len(findings.candidates)} of {CLIPS} clips")
    return findings
