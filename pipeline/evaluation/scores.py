"""Honest figures: by clip, with interval, baseline, every fold, and what was left out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.intervals import speaker_interval
from pipeline.evaluation.predictions import ANSWERS, Prediction


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


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
