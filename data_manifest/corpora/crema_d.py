"""CREMA-D: 91 actors, six emotions (no surprise), 7442 clips; labelled by the acted or by the voted emotion.

Files are named `1001_DFA_ANG_XX.flv`, `.wav` and `.mp3`. Video and audio of one name are one clip. The audio is taken
from the WAV file, because some FLV files have none.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from data_manifest.corpora._labels import note_untracked_tables, read_labels
from data_manifest.corpora.contract import (
    VIDEO_SUFFIXES,
    Candidate,
    Findings,
    add_unless_known_bad,
    choose_video_and_audio,
    count_note,
    file_suffix,
    media_files,
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
CHECKSUMS = Path(__file__).with_name("crema_d_checksums.csv.xz")  # of all FLV, WAV and MP3 files: 128 bits of each
KNOWN_BAD = {
    "1076_MTI_NEU_XX": "a fraction of a second",
    "1076_MTI_SAD_XX": "an error picture and silence",
    "1064_TIE_SAD_XX": "has no duration",
    "1064_IEO_DIS_MD": "a minute long, with all emotions",
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
    """Return CREMA-D's clips, labelled as `options` ask."""
    config = check(dict(options), CremaOptions, where="options")
    findings = Findings(expected_names="1001_DFA_ANG_XX.flv, .wav or .mp3", checksums=CHECKSUMS)
    performances: dict[str, list[str]] = defaultdict(list)
    for path in media_files(root):
        if NAME.fullmatch(stem := PurePosixPath(path).stem):
            performances[stem].append(path)
        else:
            findings.left_out[path] = "not a CREMA-D file name"
    votes: dict[str, str] = {}
    if config.labels == "voted" and performances:
        rows = read_labels(root, "summaryTable.csv", ("FileName", config.vote), folder=config.tables)
        votes = {row["FileName"]: row[config.vote] for row in rows}
        findings.notes += note_untracked_tables(root, config.tables)
    candidates = []
    for name, paths in performances.items():
        speaker, sentence, acted, _ = name.split("_")
        emotion = VOTED.get(votes.get(name, ""), "") if config.labels == "voted" else ACTED[acted]
        if not emotion:
            vote = votes.get(name)
            reason = f"no label: the vote is a tie, {vote}" if vote else "no label: not in summaryTable.csv"
            findings.left_out |= dict.fromkeys(paths, reason)
            continue
        path, audio, surplus = choose_video_and_audio(paths)
        findings.left_out |= surplus
        fallbacks = tuple(other for other in surplus if file_suffix(other) not in VIDEO_SUFFIXES)
        clip = Candidate(path, emotion, speaker, sentence=sentence, audio_path=audio, fallbacks=fallbacks, name=name)
        candidates.append(clip)
    add_unless_known_bad(findings, candidates, KNOWN_BAD)
    findings.notes += count_note("CREMA-D", "clips", _expected_clips(), performances)
    return findings


def _expected_clips() -> set[str]:
    """Return the names of all 7442 clips. Intensity varies only in the first sentence, and not for neutral."""
    first = product(ACTORS, SENTENCES[:1], set(ACTED) - {"NEU"}, ("LO", "MD", "HI"))
    others = product(ACTORS, SENTENCES[1:], ACTED, ("XX",))
    takes = (*first, *others, *product(ACTORS, SENTENCES[:1], ("NEU",), ("XX",)))
    return {"_".join(map(str, parts)) for parts in takes} - NEVER_RECORDED
