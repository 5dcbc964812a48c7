"""Predictions on test clips, and the tables that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.base.tables import write_table

MODALITIES = ("visual", "acoustic", "fused")
NO_ANSWER = -1  # the class of an answer that a head does not give: always wrong
ANSWERS = (*MODALITIES, "video_only", "audio_only")  # the last two: the fused answer without the other modality


@dataclass(frozen=True)
class Prediction:
    """The prediction of one run for one test clip: by modality, probabilities (C,), or None where the clip lacks it."""

    protocol: str
    speakers_shared: bool
    fold: int
    seed: int
    clip_id: str
    speaker: str
    truth: int
    probabilities: dict[str, list[float] | None]
    majority: int  # the most frequent class of the run's training part
    dialogue: str = ""  # "" if the corpus names none
    training_set: str = ""  # what the head was trained on: equal for equal clips
    uncalibrated: dict[str, list[float] | None] | None = None  # before the temperature; None if there is none

    def predicted_class(self, modality: str) -> int:
        """Return the most probable class, or `NO_ANSWER`."""
        probabilities = self.probabilities[modality]
        return NO_ANSWER if probabilities is None else int(np.argmax(probabilities))

    @property
    def confidence(self) -> float:
        """The probability of the fused answer, 0 without one."""
        return max(self.probabilities["fused"] or (0.0,))


def write_predictions(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Write one row for each run, clip and modality, with probabilities in columns `p_<emotion>`."""
    names = ["protocol", "fold", "seed", "modality", "clip_id", "speaker", "truth", "predicted"]
    rows = (
        [it.protocol, it.fold, it.seed, modality, it.clip_id, it.speaker, classes[it.truth]]
        + [classes[int(np.argmax(values))], *(f"{value:.6f}" for value in values)]
        for it in predictions
        for modality, values in it.probabilities.items()
        if values is not None
    )
    write_table(path, [*names, *(f"p_{name}" for name in classes)], rows)


def write_confusion(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Write truth and fused answer of each run and clip, in the format that `dvc plots` reads."""
    rows = (
        [classes[it.truth], classes[it.predicted_class("fused")]]
        for it in predictions
        if it.probabilities["fused"] is not None
    )
    write_table(path, ["truth", "predicted"], rows)


def protocol_label(protocol: str, *, speakers_shared: bool) -> str:
    """Return a protocol's name for tables and figures."""
    return protocol.replace("_", " ") + (" (speakers shared)" if speakers_shared else "")


def answer_label(answer: str) -> str:
    """Return an answer's name for tables and figures."""
    return answer.replace("_", " ")
