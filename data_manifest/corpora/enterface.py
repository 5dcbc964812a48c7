"""eNTERFACE'05: 44 subjects, six emotions (no neutral), five sentences each; audio and video in one AVI.

Speaker, emotion and sentence are those of the folders, `subject 1/anger/sentence 1/`: file names are wrong here and
there (all those of subject 11 say s12).
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifest.corpora.findings import Candidate, Findings, count_note, media_files, video_first
from pipeline.base.params import Config, check

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
SENTENCES = range(1, 6)
UNSEGMENTED = 6  # this subject's recordings are not cut into sentences
FOLDERS = re.compile(rf"(?:.*/)?subject ?(\d+)/({'|'.join(EMOTIONS)})(?:/sentence ?(\d))?/[^/]+", re.IGNORECASE)


class EnterfaceOptions(Config):
    """The options of the adapter."""

    unsegmented: bool = False
    """Also take the uncut recordings of subject 6, each as one clip."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return eNTERFACE's clips."""
    config = check(dict(options), EnterfaceOptions, where="options")
    findings = Findings(expected_names="subject 1/anger/sentence 1/s1_an_1.avi")
    clips: dict[tuple[int, str, str], str] = {}
    for path in sorted(media_files(root), key=video_first):
        match = FOLDERS.fullmatch(path)
        whole = match is not None and int(match[1]) == UNSEGMENTED
        if not match or not (match[3] or whole):
            findings.left_out[path] = "does not lie in subject N/emotion/sentence K"
        elif whole and not config.unsegmented:
            findings.left_out[path] = f"subject {UNSEGMENTED} is not cut into sentences; options.unsegmented takes it"
        else:
            sentence = match[3] or PurePosixPath(path).stem
            first = clips.setdefault((int(match[1]), match[2].lower(), sentence), path)
            if first != path:
                findings.left_out[path] = f"the same sentence as {first}"
    findings.candidates = [
        Candidate(path, emotion, str(subject), sentence=sentence, name=f"{emotion}.{sentence}")
        for (subject, emotion, sentence), path in clips.items()
    ]
    named = [
        f"subject {subject} {emotion} sentence {sentence}"
        for subject, emotion, sentence in clips
        if subject != UNSEGMENTED
    ]
    # Of subject 23 only two happy clips exist, any of the five.
    happy = sorted(name for name in named if name.startswith("subject 23 happiness"))[:2]
    happy += [f"subject 23 happiness, number {number}" for number in range(len(happy) + 1, 3)]
    findings.notes = count_note("eNTERFACE'05", "clips", [*_recorded(), *happy], named)
    return findings


def _recorded() -> list[str]:
    """Return the names of the clips that are known to be, but for the happy ones of subject 23."""
    return [
        f"subject {subject} {emotion} sentence {sentence}"
        for subject in range(1, 45)
        for emotion in EMOTIONS
        for sentence in SENTENCES
        if subject != UNSEGMENTED and (subject, emotion) != (23, "happiness")
    ]
