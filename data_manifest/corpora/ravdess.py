"""RAVDESS: 24 actors, eight emotions (including calm), speech and song.

The file name gives modality, vocal channel, emotion, intensity, statement, repetition and actor. The three modalities
of a trial are one performance, so only one file of each trial becomes a clip.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from data_manifest.corpora.contract import Candidate, Findings, count_note, media_files, video_first
from pipeline.base.params import Config, check

NAME = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")
EMOTIONS = dict(
    zip(
        ("01", "02", "03", "04", "05", "06", "07", "08"),
        ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"),
        strict=True,
    )
)
CHANNELS = {"01": "speech", "02": "song"}
PREFERENCE = ("01", "03", "02")  # video with audio, audio alone, video alone
ACTORS = [f"{actor:02}" for actor in range(1, 25)]


class RavdessOptions(Config):
    """The options of the adapter."""

    vocal: Literal["speech", "song", "both"] = "speech"
    """Spoken clips, sung clips, or both."""


def find(root: Path, options: Mapping[str, Any]) -> Findings:
    """Return one clip per trial: the file with video and audio, else the audio alone, else the video alone."""
    config = check(dict(options), RavdessOptions, where="options")
    findings = Findings(
        expected_names="MM-VV-EE-II-SS-RR-AA.mp4 or .wav, seven numbers of two digits, as in 01-01-05-…-01"
    )
    trials: dict[str, list[tuple[int, tuple[bool, str]]]] = defaultdict(list)
    for path in media_files(root):
        match = NAME.fullmatch(PurePosixPath(path).stem)
        if not match:
            findings.left_out[path] = "not a RAVDESS file name"
        elif config.vocal not in ("both", CHANNELS[match[2]]):
            findings.left_out[path] = f"{CHANNELS[match[2]]}, but options.vocal is {config.vocal}"
        else:
            trials[match[0][3:]].append((PREFERENCE.index(match[1]), video_first(path)))
    for trial, files in trials.items():
        path, *others = [path for _, (_, path) in sorted(files)]
        findings.left_out |= dict.fromkeys(others, f"the same performance as {path}")
        _, emotion, _, statement, _, actor = trial.split("-")
        sentence = f"statement {statement}"
        clip = Candidate(path, EMOTIONS[emotion], actor, sentence=sentence, fallbacks=tuple(others), name=trial)
        findings.candidates.append(clip)
    for code, channel in CHANNELS.items():
        if config.vocal in (channel, "both"):
            present = [trial for trial in trials if trial.startswith(code)]
            findings.notes += count_note("RAVDESS", f"{channel} trials", _expected_trials(code), present)
    return findings


def _expected_trials(channel: str) -> list[str]:
    """Return the names of all trials of speech (1440) or song (1012), without the modality."""
    emotions = [code for code in EMOTIONS if channel == "01" or code <= "06"]
    actors = [actor for actor in ACTORS if channel == "01" or actor != "18"]
    trials = product((channel,), emotions, ("01", "02"), ("01", "02"), ("01", "02"), actors)
    return ["-".join(parts) for parts in trials if not (parts[1] == "01" and parts[2] == "02")]  # no strong neutral
