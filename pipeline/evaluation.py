"""Honest figures: by clip, with interval, baseline, every fold, and what was left out."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pipeline.files import write_text

MODALITIES = ("visual", "acoustic", "fused")
ANSWERS = (*MODALITIES, "video_only", "audio_only")  # the last two: the fused one, with the other modality taken away
BOOTSTRAP_DRAWS = 2000
CONFIDENCE_BINS = 15
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Prediction:
    """What one run says of one test clip: by modality, probabilities (C,), or None where the clip lacks it."""

    protocol: str
    speakers_shared: bool
    fold: int
    seed: int
    clip_id: str
    speaker: str
    truth: int
    probabilities: dict[str, list[float] | None]

    def choice(self, modality: str) -> int:
        """Return the most probable class; there is none where the clip lacks the modality."""
        return int(np.argmax(self.probabilities[modality] or []))


def scores(truth: Sequence[int], chosen: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """Return WAR, UAR, both F1, recall by class, and confusion counts (rows: truth).

    Classes that do not occur in `truth` count neither in UAR nor in macro-F1.
    """
    labels = list(range(len(classes)))
    _, recall, f1, support = precision_recall_fscore_support(truth, chosen, labels=labels, zero_division=0.0)
    there = support > 0
    return {
        "war": float(np.mean(np.equal(truth, chosen))),
        "uar": float(recall[there].mean()),
        "macro_f1": float(f1[there].mean()),
        "weighted_f1": float(np.average(f1, weights=support)),
        "recall": {name: float(value) for name, value, known in zip(classes, recall, there, strict=True) if known},
        "confusion": confusion_matrix(truth, chosen, labels=labels).tolist(),
    }


def evaluate(predictions: Sequence[Prediction], classes: Sequence[str]) -> dict[str, Any]:
    """Return the figures of every protocol."""
    protocols = dict.fromkeys(it.protocol for it in predictions)
    return {name: _protocol([it for it in predictions if it.protocol == name], classes) for name in protocols}


def _protocol(predictions: Sequence[Prediction], classes: Sequence[str]) -> dict[str, Any]:
    """Return the figures of one protocol: each modality and their fusion, and the majority baseline."""
    shared = any(it.speakers_shared for it in predictions)
    result: dict[str, Any] = {"speakers_shared": shared, "clips": len({it.clip_id for it in predictions})}
    for modality in ANSWERS:
        known = [it for it in predictions if it.probabilities[modality] is not None]
        if known:
            result[modality] = _modality(known, modality, classes)
    truth = [it.truth for it in predictions]
    majority = max(set(truth), key=truth.count)
    baseline = scores(truth, [majority] * len(truth), classes)
    result["majority_baseline"] = {name: baseline[name] for name in ("war", "uar")} | {"emotion": classes[majority]}
    return result


def _modality(known: Sequence[Prediction], modality: str, classes: Sequence[str]) -> dict[str, Any]:
    """Return the pooled scores, each run's WAR and UAR, their mean and spread, and the interval."""
    runs: dict[tuple[int, int], list[Prediction]] = {}
    for it in known:
        runs.setdefault((it.fold, it.seed), []).append(it)
    each = [
        {"fold": fold, "seed": seed} | {name: values[name] for name in ("war", "uar")}
        for (fold, seed), members in sorted(runs.items())
        for values in [scores([it.truth for it in members], [it.choice(modality) for it in members], classes)]
    ]
    spread = {
        f"{name}_{label}": function([row[name] for row in each])
        for name in ("war", "uar")
        for label, function in (("mean", _mean), ("sd", _sd))
    }
    pooled = scores([it.truth for it in known], [it.choice(modality) for it in known], classes)
    return (
        pooled
        | spread
        | {"interval_95": speaker_interval(known, modality), "runs": each, "calibration": calibration(known, modality)}
    )


def calibration(predictions: Sequence[Prediction], modality: str) -> dict[str, Any]:
    """Return the expected calibration error, and the reliability curve: for each bin of confidence that has a clip.

    Confidence is the probability of the answer. Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    confidence = np.array([max(it.probabilities[modality] or ()) for it in predictions])
    right = np.array([it.choice(modality) == it.truth for it in predictions])
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    curve = [
        {"clips": int(own.sum()), "confidence": float(confidence[own].mean()), "right": float(right[own].mean())}
        for own in (bins == number for number in np.unique(bins))
    ]
    error = sum(row["clips"] * abs(row["confidence"] - row["right"]) for row in curve) / len(predictions)
    return {"expected_error": float(error), "reliability": curve}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def speaker_interval(predictions: Sequence[Prediction], modality: str) -> dict[str, list[float]]:
    """Return 95 % intervals of WAR and UAR: percentiles over draws of whole speakers, with replacement.

    Clips of one speaker are alike; drawing single clips would make the interval too narrow.
    """
    draws = Speakers.of(predictions).draws(predictions, modality)
    return {name: percentiles(values) for name, values in draws.items()}


@dataclass(frozen=True)
class Speakers:
    """Speakers to be drawn, with replacement: the same draws for all that is compared."""

    names: list[str]
    classes: int

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> "Speakers":
        """Return those of the predictions' clips."""
        return cls(sorted({it.speaker for it in predictions}), 1 + max(it.truth for it in predictions))

    def draws(self, predictions: Sequence[Prediction], modality: str) -> dict[str, NDArray[np.float64]]:
        """Return WAR and UAR of all predictions together, (draws,) each."""
        place = {name: number for number, name in enumerate(self.names)}
        right, total = (np.zeros((len(self.names), self.classes)) for _ in range(2))
        for it in predictions:
            total[place[it.speaker], it.truth] += 1
            right[place[it.speaker], it.truth] += it.choice(modality) == it.truth
        drawn = np.random.default_rng(0).integers(len(self.names), size=(BOOTSTRAP_DRAWS, len(self.names)))
        hits, clips = right[drawn].sum(1), total[drawn].sum(1)  # (draws, classes)
        recall = np.divide(hits, clips, out=np.full_like(hits, np.nan), where=clips > 0)
        return {"war": hits.sum(1) / clips.sum(1), "uar": np.nanmean(recall, axis=1)}


def percentiles(values: NDArray[np.float64]) -> list[float]:
    """Return the 2.5th and the 97.5th."""
    return [float(value) for value in np.percentile(values, [2.5, 97.5])]


def write_predictions(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Write one row for each run, clip and modality, probabilities in columns `p_<emotion>`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = ["protocol", "fold", "seed", "modality", "clip_id", "speaker", "truth", "predicted"]
    table.writerow([*names, *(f"p_{name}" for name in classes)])
    for it in predictions:
        for modality, values in it.probabilities.items():
            if values is not None:
                row = [it.protocol, it.fold, it.seed, modality, it.clip_id, it.speaker, classes[it.truth]]
                table.writerow([*row, classes[int(np.argmax(values))], *(f"{value:.6f}" for value in values)])
    write_text(path, text.getvalue())


def write_confusion(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Write truth and fused answer of each run and clip, as `dvc plots` wants them for a confusion matrix."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["truth", "predicted"])
    for it in predictions:
        if it.probabilities["fused"] is not None:
            table.writerow([classes[it.truth], classes[it.choice("fused")]])
    write_text(path, text.getvalue())


def named(protocol: str, *, speakers_shared: bool) -> str:
    """Return a protocol's name as it stands beside every figure of it."""
    return protocol.replace("_", " ") + (" (speakers shared)" if speakers_shared else "")


def headline(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row for each protocol and modality: what a table shows."""
    return [
        {
            "protocol": named(protocol, speakers_shared=figures["speakers_shared"]),
            "modality": modality.replace("_", " "),
        }
        | {name: figures[modality][name] for name in ("war", "uar", "macro_f1", "uar_mean", "uar_sd")}
        | {
            "uar_interval": figures[modality]["interval_95"]["uar"],
            "baseline_uar": figures["majority_baseline"]["uar"],
        }
        for protocol, figures in metrics["protocols"].items()
        for modality in ANSWERS
        if modality in figures
    ]


def summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few numbers that fit into a line of `dvc exp show`; those of the first protocol come first."""
    few: dict[str, Any] = {}
    for place, (name, figures) in enumerate(metrics["protocols"].items()):
        fused = figures["fused"]
        low, high = fused["interval_95"]["uar"]
        few[name] = {"uar": fused["uar"]}
        if place == 0:
            interval = {"uar_low": low, "uar_high": high}
            few[name] |= interval | {"baseline_uar": figures["majority_baseline"]["uar"], "war": fused["war"]}
    return few | {"clips": metrics["clips"], "left_out": len(metrics["left_out"])}
