"""Scores by clip: pooled over a protocol's runs, for every run, with intervals and the majority baseline."""

from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.clusters import (
    Cluster,
    choose_cluster,
    cluster_numbers,
    count_answers,
    count_training_sets,
    uar,
    war,
)
from pipeline.evaluation.intervals import score_interval
from pipeline.evaluation.predictions import ANSWERS, NO_ANSWER, Prediction
from pipeline.evaluation.schemas import (
    AnswerScores,
    MajorityBaseline,
    ProtocolScores,
    RunScores,
    ScoreIntervals,
    Scores,
)


def score(truth: Sequence[int], predicted: Sequence[int], classes: Sequence[str]) -> Scores:
    """Return WAR, UAR, both F1, recall by class, and confusion counts (rows: truth, without `NO_ANSWER`).

    Classes that do not occur in `truth` count neither in UAR nor in macro-F1.
    """
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    answered = [pair for pair in zip(truth, predicted, strict=True) if pair[1] != NO_ANSWER]
    np.add.at(confusion, tuple(np.array(answered, np.int64).reshape(-1, 2).T), 1)
    hits, support = confusion.diagonal(), np.bincount(truth, minlength=len(classes))
    recall = hits / np.maximum(1, support)
    f1 = 2 * hits / np.maximum(1, support + confusion.sum(0))
    occurs = support > 0
    return Scores(
        war=float(np.mean(np.equal(truth, predicted))),
        uar=float(recall[occurs].mean()),
        macro_f1=float(f1[occurs].mean()),
        weighted_f1=float(np.average(f1, weights=support)),
        recall={name: float(value) for name, value, counts in zip(classes, recall, occurs, strict=True) if counts},
        confusion=confusion.tolist(),
    )


def score_predictions(predictions: Sequence[Prediction], modality: str, classes: Sequence[str]) -> Scores:
    """Return the scores of one modality's answers, which all clips must have."""
    truth = [it.truth for it in predictions]
    return score(truth, [it.predicted_class(modality) for it in predictions], classes)


def evaluate(predictions: Sequence[Prediction], classes: Sequence[str]) -> dict[str, ProtocolScores]:
    """Return the scores of every protocol."""
    protocols = dict.fromkeys(it.protocol for it in predictions)
    return {name: _protocol([it for it in predictions if it.protocol == name], classes) for name in protocols}


def _protocol(predictions: Sequence[Prediction], classes: Sequence[str]) -> ProtocolScores:
    """Return the scores of one protocol: each modality and their fusion, and the majority baseline."""
    cluster = choose_cluster(predictions)
    answers = {}
    for modality in ANSWERS:
        answered = [it for it in predictions if it.probabilities[modality] is not None]
        if answered:
            answers[modality] = _answer(answered, modality, classes, cluster)
    baseline = score([it.truth for it in predictions], [it.majority for it in predictions], classes)
    emotions = sorted({classes[it.majority] for it in predictions})
    return ProtocolScores(
        speakers_shared=any(it.speakers_shared for it in predictions),
        clips=len({it.clip_id for it in predictions}),
        cluster=cluster,
        clusters=1 + int(cluster_numbers(predictions, cluster).max()),
        training_sets=count_training_sets(predictions),
        majority_baseline=MajorityBaseline(war=baseline.war, uar=baseline.uar, emotions=emotions),
        **answers,
    )


def _answer(predictions: Sequence[Prediction], modality: str, classes: Sequence[str], cluster: Cluster) -> AnswerScores:
    """Return the pooled scores, each run's WAR and UAR, their mean and spread, intervals and calibration."""
    members: dict[tuple[int, int], list[Prediction]] = {}
    for prediction in predictions:
        members.setdefault((prediction.fold, prediction.seed), []).append(prediction)
    runs = []
    for (fold, seed), part in sorted(members.items()):
        scores = score_predictions(part, modality, classes)
        runs.append(RunScores(fold=fold, seed=seed, war=scores.war, uar=scores.uar))
    run_war, run_uar = [it.war for it in runs], [it.uar for it in runs]
    counts = count_answers(predictions, modality, cluster)
    before = [values for it in predictions if it.uncalibrated and (values := it.uncalibrated[modality])]
    return AnswerScores(
        **dict(score_predictions(predictions, modality, classes)),
        war_mean=float(np.mean(run_war)),
        war_sd=standard_deviation(run_war),
        uar_mean=float(np.mean(run_uar)),
        uar_sd=standard_deviation(run_uar),
        interval_95=ScoreIntervals(war=score_interval(counts, war), uar=score_interval(counts, uar)),
        runs=runs,
        calibration=calibration(predictions, [it.probabilities[modality] or [] for it in predictions], cluster),
        uncalibrated=calibration(predictions, before, cluster) if before else None,
    )


def standard_deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation; None for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
