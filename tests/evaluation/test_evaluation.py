"""Scores: equal to values worked out by hand, with intervals over speakers and calibration."""

import csv
from pathlib import Path

import numpy as np
import pytest
from report_samples import evaluation
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.intervals import SpeakerBootstrap, speaker_intervals
from pipeline.evaluation.predictions import Prediction, write_confusion, write_predictions
from pipeline.evaluation.results import headline, summarise
from pipeline.evaluation.schemas import ProtocolMetrics
from pipeline.evaluation.scores import evaluate, score

CLASSES = ["anger", "fear", "neutral"]


def prediction(
    clip: int, truth: int, predicted: int, *, speaker: str = "s", fold: int = 0, has_video: bool = True
) -> Prediction:
    values = [0.1, 0.1, 0.1]
    values[predicted] = 0.8
    video = values if has_video else None
    answers = {"visual": video, "acoustic": values, "fused": values, "video_only": video, "audio_only": values}
    return Prediction("folds", False, fold, 0, f"c{clip}", speaker, truth, answers)


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


def test_baseline_is_the_most_frequent_class() -> None:
    scores = evaluate([prediction(i, truth, 1) for i, truth in enumerate([0, 0, 0, 1])], CLASSES)["folds"]
    assert dict(scores.majority_baseline) == {"war": 0.75, "uar": 0.5, "emotion": "anger"}


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


def test_intervals_resample_speakers_not_clips() -> None:
    # Two speakers, one always right and one always wrong: whole speakers give 0, a half or 1.
    rows = [prediction(i, 0, 0 if i < 50 else 1, speaker="ab"[i // 50]) for i in range(100)]
    assert speaker_intervals(rows, "fused").war == (0, 1)
    mixed = [prediction(i, 0, i % 2, speaker="ab"[i // 50]) for i in range(100)]
    assert speaker_intervals(mixed, "fused").war == (0.5, 0.5)


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


def confident(clip: int, confidence: float, *, correct: bool) -> Prediction:
    values = [confidence, 1 - confidence, 0.0]
    return Prediction("folds", False, 0, 0, f"c{clip}", "s", 0 if correct else 1, {"fused": values})


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    # Between 0.7 and 0.8, of 15 bins one ends at 11/15 = 0.733: 0.70 lies below, 0.75 and 0.76 above.
    answers = [(0.70, True), (0.75, True), (0.76, False), (1.0, True)]
    rows = [confident(clip, value, correct=correct) for clip, (value, correct) in enumerate(answers)]
    result = calibration(rows, "fused")
    assert [row.clips for row in result.reliability] == [1, 2, 1]
    assert [row.accuracy for row in result.reliability] == [1, 0.5, 1]
    assert result.reliability[1].confidence == pytest.approx(0.755)
    assert result.expected_error == pytest.approx((0.30 + 2 * 0.255 + 0) / 4)


def test_comparisons_use_the_same_bootstrap_samples() -> None:
    # One is right exactly where the other is wrong, so with common samples both accuracies add up to one.
    rows = [prediction(i, 0, i // 50, speaker="ab"[i // 50]) for i in range(100)]
    opposite = [prediction(i, 0, 1 - i // 50, speaker="ab"[i // 50]) for i in range(100)]
    bootstrap = SpeakerBootstrap.of(rows)
    total = bootstrap.sample_scores(rows, "fused")["war"] + bootstrap.sample_scores(opposite, "fused")["war"]
    np.testing.assert_allclose(total, 1)


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
