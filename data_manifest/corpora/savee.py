"""SAVEE: four men, seven emotions, 480 clips; no official parts.

Files lie as `AudioData/DC/a01.wav` and `AudioVisualClip/DC/a01.avi`, or flat as `DC_a01.wav` or `DCa01.wav`.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifest.corpora.findings import Candidate, Findings, count_note, media_files, pair
from pipeline.base.params import Config, check

SPEAKERS = ("DC", "JE", "JK", "KL")
# `sa` and `su` stand before `s…` could be misread; `a` is anger, not happiness.
EMOTIONS = {
    "sa": "sadness",
    "su": "surprise",
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
}
NAME = re.compile(rf"(?:({'|'.join(SPEAKERS)})_?)?({'|'.join(EMOTIONS)})(\d\d)", re.IGNORECASE)
TAKES = {code: 30 if code == "n" else 15 for code in EMOTIONS}  # per speaker; the corpus's Info.txt says 15 for all


class SaveeOptions(Config):
    """The options of the adapter: there are none."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return SAVEE's clips: film and sound of one utterance are one clip."""
    check(dict(options), SaveeOptions, where="options")
    findings = Findings(expected_names="DC/a01.wav, DC_a01.wav or DCa01.avi, of the speakers " + ", ".join(SPEAKERS))
    takes: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for path in media_files(root):
        match = NAME.fullmatch(PurePosixPath(path).stem)
        speaker = (match and match[1]) or _folder(path)
        if match and speaker:
            takes[speaker.upper(), match[2].lower(), match[3]].append(path)
        else:
            findings.left_out[path] = "its name is not one of SAVEE's" if not match else "lies in no speaker's folder"
    for (speaker, code, number), paths in takes.items():
        path, sound, surplus = pair(paths)
        findings.left_out |= surplus
        # No sentence: three are said in all emotions, others again as neutral, and no name tells which.
        name = f"{code}{number}"
        findings.candidates.append(Candidate(path, EMOTIONS[code], speaker, audio_path=sound, name=name))
    expected = [f"{who}/{code}{n:02}" for who in SPEAKERS for code, count in TAKES.items() for n in range(1, count + 1)]
    there = [f"{it.speaker}/{it.name}" for it in findings.candidates]
    findings.notes += count_note("SAVEE", "clips", expected, there)
    return findings


def _folder(path: str) -> str:
    return next((part for part in reversed(PurePosixPath(path).parts[:-1]) if part.upper() in SPEAKERS), "")
