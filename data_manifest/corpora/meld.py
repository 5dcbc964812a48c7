"""MELD: 13,708 utterances from a television series, seven emotions, official parts that share speakers.

Files are named `dia0_utt0.mp4`, in one folder per part; the same ids occur in several parts.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from data_manifest.corpora._labels import note_untracked_tables, read_labels
from data_manifest.corpora.contract import Candidate, Findings, count_note, media_files, video_first
from pipeline.base.params import Config, check

PARTS = {"train_splits": "train", "dev_splits_complete": "dev", "output_repeated_splits_test": "test"}
NAME = re.compile(r"dia(\d+)_utt(\d+)")
EMOTIONS = {name: name for name in ("anger", "disgust", "fear", "neutral", "sadness", "surprise")} | {
    "joy": "happiness"
}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
ROWS = {"train": 9989, "dev": 1109, "test": 2610}
KNOWN_BAD = {
    "train/dia125_utt3": "damaged in the published corpus",
    "dev/dia110_utt7": "damaged in the published corpus",
    "test/dia38_utt4": "badly cut, 305 s",
    "test/dia220_utt0": "badly cut, 235 s",
    "train/dia309_utt0": "badly cut, 41 s",
}


class MeldOptions(Config):
    """The options of the adapter."""

    tables: str = ""
    """The folder of `{train,dev,test}_sent_emo.csv`; empty: they are searched below the root."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return MELD's utterances that have both a file and a label."""
    config = check(dict(options), MeldOptions, where="options")
    findings = Findings(expected_names="diaX_uttY.mp4 in the folders " + ", ".join(PARTS))
    paths: dict[str, dict[str, str]] = {part: {} for part in PARTS.values()}  # by part, then by utterance
    for path in sorted(media_files(root), key=video_first):
        stem = PurePosixPath(path).stem
        part = next((PARTS[folder] for folder in PurePosixPath(path).parts[:-1] if folder in PARTS), "")
        if stem.startswith("final_videos_test"):
            findings.left_out[path] = "an extra clip without a label"
        elif not part or not NAME.fullmatch(stem):
            findings.left_out[path] = "not in a part's folder" if not part else "not a MELD file name"
        elif stem in paths[part]:
            findings.left_out[path] = f"the same utterance as {paths[part][stem]}"
        else:
            paths[part][stem] = path
    for part in filter(paths.get, paths):
        _label(part, paths[part], root, config.tables, findings)
    if any(paths.values()):
        findings.notes += note_untracked_tables(root, config.tables)
        findings.notes += [f"MELD: none of the {ROWS[part]} {part} utterances" for part in paths if not paths[part]]
    return findings


def _label(part: str, paths: dict[str, str], root: Path, folder: str, findings: Findings) -> None:
    """Add the labelled files of one part; note files and rows without a counterpart."""
    table = f"{part}_sent_emo.csv"
    rows = {
        f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}": row
        for row in read_labels(root, table, COLUMNS, folder=folder)
    }
    if len(rows) != ROWS[part]:
        findings.notes.append(f"MELD: {table} labels {len(rows)} utterances, not {ROWS[part]}")
    for stem, path in paths.items():
        row = rows.get(stem)
        emotion = EMOTIONS.get(row["Emotion"].strip().lower(), "") if row else ""
        bad = KNOWN_BAD.get(f"{part}/{stem}")
        if bad:
            findings.left_out[path] = f"known bad: {bad}"
        elif not row or not emotion:
            findings.left_out[path] = f"no label in {table}" + (f": {row['Emotion']!r}" if row else "")
        else:
            sentence = " ".join(row["Utterance"].casefold().split())
            speaker = row["Speaker"].strip() or "unknown"
            findings.candidates.append(Candidate(path, emotion, speaker, sentence=sentence, split=part, name=stem))
    findings.notes += count_note("MELD", f"{part} utterances", rows, paths)
