"""eNTERFACE'05: 44 subjects, six emotions (no neutral), five sentences each; audio and video in one AVI.

Speaker, emotion and sentence come from the folders, `subject 1/anger/sentence 1/`, because some file names are wrong
(all files of subject 11 are named s12).
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifest.corpora.contract import Candidate, Findings, count_note, media_files, video_first
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
        is_unsegmented = match is not None and int(match[1]) == UNSEGMENTED
        if not match or not (match[3] or is_unsegmented):
            findings.left_out[path] = "not in a folder subject N/emotion/sentence K"
        elif is_unsegmented and not config.unsegmented:
            findings.left_out[path] = f"subject {UNSEGMENTED} is not cut into sentences; options.unsegmented adds it"
        else:
            sentence = match[3] or PurePosixPath(path).stem
            first = clips.setdefault((int(match[1]), match[2].lower(), sentence), path)
            if first != path:
                findings.left_out[path] = f"the same sentence as {first}"
    findings.candidates = [
        Candidate(path, emotion, str(subject), sentence=sentence, name=f"{emotion}.{sentence}")
        for (subject, emotion, sentence), path in clips.items()
    ]
    sentences = [
        f"subject {subject} {emotion} sentence {sentence}"
        for subject, emotion, sentence in clips
        if subject != UNSEGMENTED
    ]
    # Subject 23 has only two clips of happiness; which of the five sentences varies.
    happy = sorted(name for name in sentences if name.startswith("subject 23 happiness"))[:2]
    happy += [f"subject 23 happiness, number {number}" for number in range(len(happy) + 1, 3)]
    findings.notes = count_note("eNTERFACE'05", "clips", [*_expected_sentences(), *happy], sentences)
    return findings


def _expected_sentences() -> list[str]:
    """Return the names of all clips except those of happiness by subject 23."""
    return [
        f"subject {subject} {emotion} sentence {sentence}"
        for subject in range(1, 45)
        for emotion in EMOTIONS
        for sentence in SENTENCES
        if subject != UNSEGMENTED and (subject, emotion) != (23, "happiness")
    ]
