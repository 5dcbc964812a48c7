"""SAVEE: four men, seven emotions, 480 clips; no official parts.

Files are named `AudioData/DC/a01.wav` and `AudioVisualClip/DC/a01.avi`, or `DC_a01.wav`, or `DCa01.wav`.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifest.corpora.contract import Candidate, Findings, choose_video_and_audio, count_note, media_files
from pipeline.base.params import Config, check

SPEAKERS = ("DC", "JE", "JK", "KL")
# The longer codes `sa` and `su` come first, so that the pattern tries them first; `a` is anger.
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
TAKES = {code: 30 if code == "n" else 15 for code in EMOTIONS}  # per speaker; the corpus's Info.txt says 15 for each


class SaveeOptions(Config):
    """The adapter takes no options."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return SAVEE's clips: video and audio files of one utterance are one clip."""
    check(dict(options), SaveeOptions, where="options")
    findings = Findings(expected_names="DC/a01.wav, DC_a01.wav or DCa01.avi, by the speakers " + ", ".join(SPEAKERS))
    takes: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for path in media_files(root):
        match = NAME.fullmatch(PurePosixPath(path).stem)
        speaker = (match and match[1]) or _speaker_folder(path)
        if match and speaker:
            takes[speaker.upper(), match[2].lower(), match[3]].append(path)
        else:
            findings.left_out[path] = "not a SAVEE file name" if not match else "not in a speaker's folder"
    for (speaker, code, number), paths in takes.items():
        path, audio, surplus = choose_video_and_audio(paths)
        findings.left_out |= surplus
        # The sentence stays empty: some are shared between emotions, but the file name does not say which.
        name = f"{code}{number}"
        findings.candidates.append(Candidate(path, EMOTIONS[code], speaker, audio_path=audio, name=name))
    expected = [
        f"{name}/{code}{n:02}" for name in SPEAKERS for code, count in TAKES.items() for n in range(1, count + 1)
    ]
    present = [f"{it.speaker}/{it.name}" for it in findings.candidates]
    findings.notes += count_note("SAVEE", "clips", expected, present)
    return findings


def _speaker_folder(path: str) -> str:
    return next((part for part in reversed(PurePosixPath(path).parts[:-1]) if part.upper() in SPEAKERS), "")
