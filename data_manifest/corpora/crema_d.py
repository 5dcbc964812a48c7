"""CREMA-D: 91 actors, six emotions (no surprise), 7442 clips; labelled by what was acted, or by what people voted.

Files are named `1001_DFA_ANG_XX.flv`, `.wav` and `.mp3`; film and sound of one name are one clip, and the WAV is the
sound: some FLV files have none.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from data_manifest.corpora._labels import read_labels, untracked
from data_manifest.corpora.findings import (
    VIDEO_SUFFIXES,
    Candidate,
    Findings,
    count_note,
    exclude_known_bad,
    file_suffix,
    media_files,
    pair,
)
from pipeline.base.params import Config, check

NAME = re.compile(r"(10[0-8]\d|109[01])_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX)")
ACTED = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
VOTED = {code[0]: emotion for code, emotion in ACTED.items()}
ACTORS = range(1001, 1092)
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
NEVER_RECORDED = {"1002_TIE_NEU_XX", "1076_ITS_NEU_XX"} | {
    f"{take}_{emotion}_XX" for take in ("1008_WSI", "1009_MTI", "1019_ITH") for emotion in ACTED
}
KNOWN_BAD = {
    "1076_MTI_NEU_XX": "a fraction of a second",
    "1076_MTI_SAD_XX": "an error picture and silence",
    "1064_TIE_SAD_XX": "has no duration",
    "1064_IEO_DIS_MD": "a minute that holds all emotions",
}


class CremaOptions(Config):
    """The options of the adapter."""

    labels: Literal["acted", "voted"] = "acted"
    """The emotion the actor was asked for, or the one the raters voted for."""
    vote: Literal["MultiModalVote", "FaceVote", "VoiceVote"] = "MultiModalVote"
    """Which vote to use: of raters who saw, heard, or saw and heard the clip."""
    tables: str = ""
    """The folder of `summaryTable.csv`; empty: it is searched below the root."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return CREMA-D's clips with the labels asked for."""
    config = check(dict(options), CremaOptions, where="options")
    findings = Findings(expected_names="1001_DFA_ANG_XX.flv, .wav or .mp3")
    performances: dict[str, list[str]] = defaultdict(list)
    for path in media_files(root):
        if NAME.fullmatch(stem := PurePosixPath(path).stem):
            performances[stem].append(path)
        else:
            findings.left_out[path] = "its name is not one of CREMA-D's"
    votes: dict[str, str] = {}
    if config.labels == "voted" and performances:
        rows = read_labels(root, "summaryTable.csv", ("FileName", config.vote), folder=config.tables)
        votes = {row["FileName"]: row[config.vote] for row in rows}
        findings.notes += untracked(root, config.tables)
    candidates = []
    for name, paths in performances.items():
        speaker, sentence, acted, _ = name.split("_")
        emotion = VOTED.get(votes.get(name, ""), "") if config.labels == "voted" else ACTED[acted]
        if not emotion:
            vote = votes.get(name)
            reason = f"no label: the vote is a tie, {vote}" if vote else "no label: not in summaryTable.csv"
            findings.left_out |= dict.fromkeys(paths, reason)
            continue
        path, sound, surplus = pair(paths)
        findings.left_out |= surplus
        spares = tuple(other for other in surplus if file_suffix(other) not in VIDEO_SUFFIXES)
        clip = Candidate(path, emotion, speaker, sentence=sentence, audio_path=sound, fallbacks=spares, name=name)
        candidates.append(clip)
    exclude_known_bad(candidates, KNOWN_BAD, findings)
    findings.notes += count_note("CREMA-D", "clips", _recorded(), performances)
    return findings


def _recorded() -> set[str]:
    """Return the names of all 7442 clips. Strength varies in the first sentence only, and never of neutral."""
    first = product(ACTORS, SENTENCES[:1], set(ACTED) - {"NEU"}, ("LO", "MD", "HI"))
    others = product(ACTORS, SENTENCES[1:], ACTED, ("XX",))
    every = (*first, *others, *product(ACTORS, SENTENCES[:1], ("NEU",), ("XX",)))
    return {"_".join(map(str, parts)) for parts in every} - NEVER_RECORDED
