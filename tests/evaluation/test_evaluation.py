"""Scores: equal to values worked out by hand, with intervals over speakers and calibration."""

import csv
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from report_samples import evaluation
from scipy.stats import t
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from pipeline.evaluation.calibration import calibration, count_bins
from pipeline.evaluation.clusters import ClusterCounts, choose_cluster, uar
from pipeline.evaluation.intervals import score_interval
from pipeline.evaluation.predictions import NO_ANSWER, Prediction, write_confusion, write_predictions
from pipeline.evaluation.results import headline, summarise
from pipeline.evaluation.schemas import ProtocolMetrics
from pipeline.evaluation.scores import evaluate, score

CLASSES = ["anger", "fear", "neutral"]


def prediction(
    clip: int, truth: int, predicted: int, *, fold: int = 0, has_video: bool = True, majority: int = 0
) -> Prediction:
    values = [0.1, 0.1, 0.1]
    values[predicted] = 0.8
    video = values if has_video else None
    answers = {"visual": video, "acoustic": values, "fused": values, "video_only": video, "audio_only": values}
    return Prediction("folds", False, fold, 0, f"c{clip}", "s", truth, answers, majority)


def test_scores_equal_those_worked_out_by_hand() -> None:
    # anger: 2 of 3 right, fear: 1 of 1, neutral: 0 of 2 (both called fear).
    scores = score([0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 1, 1], CLASSES)
    assert scores.war == pytest.approx(3 / 6)
    assert scores.uar == pytest.approx((2 / 3 + 1 + 0) / 3)
    f1 = [2 * 2 / (2 * 2 + 0 + 1), 2 * 1 / (2 * 1 + 3 + 0), 0]
    assert scores.macro_f1 == pytest.approx(np.mean(f1))
    assert scores.weighted_f1 == pytest.approx((3 * f1[0] + f1[1] + 2 * f1[2]) / 6)
    assert scores.recall == pytest.approx({"anger": 2 / 3, "fear": 1, "neutral": 0})
    assert scores.confusion == [[2, 1, 0], [0, 1, 0], [0, 2, 0]]


@pytest.mark.parametrize("seed", range(50))
def test_scores_equal_those_of_scikit_learn_exactly(seed: int) -> None:
    generator = np.random.default_rng(seed)
    classes = [f"emotion {number}" for number in range(2 + seed % 7)]
    clips = 1 + seed * 7  # few clips leave classes without truth, without prediction, or without either
    truth, predicted = (generator.integers(len(classes), size=clips).tolist() for _ in range(2))
    labels = list(range(len(classes)))
    _, recall, f1, support = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0.0)
    occurs = support > 0
    scores = score(truth, predicted, classes)
    assert scores.war == accuracy_score(truth, predicted)
    assert scores.uar == recall[occurs].mean()
    assert scores.macro_f1 == f1[occurs].mean()
    assert scores.weighted_f1 == np.average(f1, weights=support)
    assert scores.recall == {classes[label]: recall[label] for label in labels if occurs[label]}
    assert scores.confusion == confusion_matrix(truth, predicted, labels=labels).tolist()


def test_classes_without_a_test_clip_do_not_count() -> None:
    scores = score([0, 1], [0, 2], CLASSES)
    assert scores.uar == pytest.approx(0.5)
    assert set(scores.recall) == {"anger", "fear"}


def test_baseline_answers_the_most_frequent_class_of_its_training_part() -> None:
    # Most test clips show anger, but the training parts hold more fear, or more neutral clips.
    rows = [prediction(i, truth, 1, fold=i % 2, majority=1 + i % 2) for i, truth in enumerate([0, 1, 0, 0, 1, 2])]
    baseline = evaluate(rows, CLASSES)["folds"].majority_baseline
    # Clips 0, 2 and 4 are answered fear, of which 4 is right; 1, 3 and 5 neutral, of which 5 is right.
    assert dict(baseline) == {"war": 2 / 6, "uar": (0 + 1 / 2 + 1) / 3, "emotions": ["fear", "neutral"]}


def test_scores_hold_every_fold_with_mean_and_spread() -> None:
    rows = [prediction(i, i % 2, 0 if i < 4 else i % 2, fold=i // 4) for i in range(8)]
    scores = evaluate(rows, CLASSES)["folds"].answers["fused"]
    assert [run.uar for run in scores.runs] == [0.5, 1.0]
    assert scores.uar_mean == pytest.approx(0.75)
    assert scores.uar_sd == pytest.approx(np.std([0.5, 1], ddof=1))


def test_a_modality_is_scored_on_the_clips_that_have_it() -> None:
    rows = [prediction(0, 0, 0), prediction(1, 1, 1), prediction(2, 1, 0, has_video=False)]
    scores = evaluate(rows, CLASSES)["folds"]
    assert scores.answers["visual"].war == 1
    assert scores.answers["fused"].war == pytest.approx(2 / 3)


def test_headline_marks_protocols_that_share_speakers() -> None:
    scores = evaluate([prediction(0, 0, 0), prediction(1, 1, 1)], CLASSES)["folds"]
    shared = scores.model_copy(update={"speakers_shared": True})
    labels = {(row.modality, row.protocol) for row in headline(evaluation(protocols={"folds": shared}))}
    assert labels == {
        (modality, "folds (speakers shared)")
        for modality in ("visual", "acoustic", "fused", "video only", "audio only")
    }


def test_predictions_have_one_row_for_each_clip_and_modality(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", [prediction(0, 2, 1, has_video=False)], CLASSES)
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["modality"] for row in rows] == ["acoustic", "fused", "audio_only"]
    assert (rows[0]["clip_id"], rows[0]["truth"], rows[0]["predicted"]) == ("c0", "neutral", "fear")
    assert [float(rows[0][f"p_{name}"]) for name in CLASSES] == [0.1, 0.8, 0.1]


def confident(clip: int, confidence: float, *, correct: bool, speaker: str = "s") -> Prediction:
    values = [confidence, 1 - confidence, 0.0]
    return Prediction("folds", False, 0, 0, f"c{clip}", speaker, 0 if correct else 1, {"fused": values}, 0)


def probabilities(rows: list[Prediction]) -> list[list[float]]:
    return [row.probabilities["fused"] or [] for row in rows]


def test_calibration_error_is_the_gap_between_confidence_and_accuracy_in_bins_of_equal_mass() -> None:
    # 40 clips make two bins: 20 of 0.6, of which 15 are right, and 20 of 0.9, of which 10 are right.
    rows = [confident(i, 0.6, correct=i % 4 > 0) for i in range(20)]
    rows += [confident(20 + i, 0.9, correct=i % 2 > 0) for i in range(20)]
    result = calibration(rows, probabilities(rows), "speaker")
    assert [(row.clips, row.accuracy) for row in result.reliability] == [(20, 0.75), (20, 0.5)]
    assert [row.confidence for row in result.reliability] == pytest.approx([0.6, 0.9])
    assert result.expected_error == pytest.approx((0.15 + 0.4) / 2)
    # By hand: -log of the true class's probability; squared distances (1 - p)^2 twice, or p^2 twice.
    assert result.nll == pytest.approx(-(15 * np.log(0.6) + 5 * np.log(0.4) + 10 * np.log(0.9) + 10 * np.log(0.1)) / 40)
    assert result.brier == pytest.approx(2 * (15 * 0.16 + 5 * 0.36 + 10 * 0.01 + 10 * 0.81) / 40)
    assert result.expected_error_interval == (0, 1)  # of one speaker


def test_interval_of_the_calibration_error_is_that_of_the_jackknife_over_clusters() -> None:
    rng = np.random.default_rng(0)
    rows = [confident(i, 0.7, correct=bool(rng.random() < 0.5), speaker=f"s{i % 4}") for i in range(30)]
    gaps = np.array([0.7 - (row.truth == 0) for row in rows])
    speaker = np.arange(30) % 4
    without = np.array([abs(gaps[speaker != it].mean()) for it in range(4)])  # 30 clips make one bin
    sizes = np.bincount(speaker)
    freedom = sizes.sum() ** 2 / (sizes**2).sum() - 1
    margin = t.ppf(0.975, freedom) * np.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum())
    # By chance: the error with each of the 16 choices of signs of the speakers' gaps.
    sums = [gaps[speaker == it].sum() for it in range(4)]
    chance = [abs(np.dot(signs, sums)) / 30 for signs in product((1, -1), repeat=4)]
    low = max(0, abs(gaps.mean()) - margin) if abs(gaps.mean()) > np.quantile(chance, 0.975) else 0
    result = calibration(rows, probabilities(rows), "speaker")
    assert result.expected_error_interval == pytest.approx((low, abs(gaps.mean()) + margin))


def test_a_calibration_error_that_chance_explains_may_be_zero() -> None:
    rows = [confident(i, 0.7, correct=i % 10 < 7, speaker=f"s{i // 10}") for i in range(100)]
    assert calibration(rows, probabilities(rows), "speaker").expected_error_interval[0] == 0
    right = [i % 10 < 7 + i // 10 % 2 for i in range(100)]
    sure = [confident(i, 0.98 + i % 7 / 500, correct=right[i], speaker=f"s{i // 10}") for i in range(100)]
    low, high = calibration(sure, probabilities(sure), "speaker").expected_error_interval
    assert 0.15 < low < 0.24 < high < 0.33


@pytest.mark.parametrize("speakers", [3, 4, 5])
def test_few_speakers_cannot_show_a_calibration_error(speakers: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = [
            confident(i, rng.uniform(0.4, 0.99), correct=bool(rng.random() < 0.3), speaker=f"s{i % speakers}")
            for i in range(60)
        ]
        assert calibration(rows, probabilities(rows), "speaker").expected_error_interval[0] == 0


def test_bins_hold_at_least_twenty_clips() -> None:
    assert [count_bins(clips) for clips in (1, 39, 40, 210, 10**6)] == [1, 1, 2, 10, 15]


def test_calibration_is_shown_before_and_after_the_temperature() -> None:
    rows = [confident(i, 0.6, correct=i % 5 > 1) for i in range(20)]
    before = [replace(row, uncalibrated={"fused": [1.0, 0.0, 0.0]}) for row in rows]
    answers = dict.fromkeys(("visual", "acoustic", "video_only", "audio_only"))
    scored = evaluate([replace(it, probabilities={**answers, **it.probabilities}) for it in before], CLASSES)
    fused = scored["folds"].answers["fused"]
    assert fused.calibration.expected_error == pytest.approx(0)
    assert fused.uncalibrated is not None
    assert fused.uncalibrated.expected_error == pytest.approx(0.4)
    assert np.isfinite(fused.uncalibrated.nll)  # although a probability of 0 was the true one's


def test_metrics_begin_with_the_first_protocol_and_hold_the_uar_of_others() -> None:
    rows = [prediction(0, 0, 0), prediction(1, 1, 1), prediction(2, 1, 0)]
    folds = evaluate(rows, CLASSES)["folds"]
    left_out = [{"clip_id": "x", "path": "x.mp4", "stage": "corpus", "reason": "is damaged"}]
    metrics = summarise(evaluation(clips=3, left_out=left_out, protocols={"folds": folds, "random": folds})).root
    assert list(metrics) == ["folds", "random", "clips", "left_out"]
    first, second = metrics["folds"], metrics["random"]
    assert isinstance(first, ProtocolMetrics)
    assert isinstance(second, ProtocolMetrics)
    assert first.uar == pytest.approx(0.75)
    assert first.war == pytest.approx(2 / 3)
    assert first.uar_low is not None
    assert first.uar_high is not None
    assert first.uar_low <= 0.75 <= first.uar_high
    assert first.baseline_uar == 0.5
    assert second.model_fields_set == {"uar"}
    assert metrics["left_out"] == 1


def test_confusion_table_holds_the_fused_answers(tmp_path: Path) -> None:
    write_confusion(tmp_path / "c.csv", [prediction(0, 2, 1, has_video=False), prediction(1, 0, 0)], CLASSES)
    assert (tmp_path / "c.csv").read_text() == "truth,predicted\nneutral,fear\nanger,anger\n"


def test_a_clip_without_an_answer_is_wrong() -> None:
    scores = score([0, 0, 1, 1], [0, NO_ANSWER, 1, 1], ["a", "b"])
    assert (scores.war, scores.uar, scores.confusion) == (0.75, 0.75, [[1, 0], [0, 2]])


def test_a_class_of_one_cluster_does_not_decide_the_interval() -> None:
    clips = np.array([[6, 2]] + [[8, 0]] * 9)
    hits = np.array([[4, 1]] + [[n, 0] for n in (5, 6, 4, 5, 6, 7, 5, 4, 6)])
    low, high = score_interval(ClusterCounts(hits, clips, np.arange(10)), uar)
    assert 0.5 < low < uar(hits.sum(0), clips.sum(0)) < high < 0.7
    agree = ClusterCounts(np.full((10, 2), 3), np.full((10, 2), 5), np.arange(10))
    low, high = score_interval(agree, uar)
    assert 0.45 < low < 0.6 - 1e-3 < 0.6 + 1e-3 < high < 0.75


def test_folds_that_train_on_the_same_clips_are_one_training_set() -> None:
    rows = [replace(prediction(n, 0, 0), fold=n % 2, speaker=f"s{n % 6}", training_set="all") for n in range(12)]
    assert choose_cluster(rows) == "speaker"
    other = [replace(row, training_set=str(row.fold)) for row in rows]
    assert choose_cluster(other) == "fold"
