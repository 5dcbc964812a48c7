"""Figures: equal to those worked out by hand, and honest about speakers, gaps and luck."""

import csv
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.intervals import Speakers, speaker_interval
from pipeline.evaluation.predictions import Prediction, write_confusion, write_predictions
from pipeline.evaluation.results import headline, summary
from pipeline.evaluation.scores import evaluate, scores

CLASSES = ["anger", "fear", "neutral"]


def prediction(
    clip: int, truth: int, chosen: int, *, speaker: str = "s", fold: int = 0, seen: bool = True
) -> Prediction:
    values = [0.1, 0.1, 0.1]
    values[chosen] = 0.8
    own = values if seen else None
    both = {"visual": own, "acoustic": values, "fused": values, "video_only": own, "audio_only": values}
    return Prediction("folds", False, fold, 0, f"c{clip}", speaker, truth, both)


def test_scores_are_those_worked_out_by_hand() -> None:
    # anger: 2 of 3 right, fear: 1 of 1, neutral: 0 of 2 (both called fear).
    figures = scores([0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 1, 1], CLASSES)
    assert figures["war"] == pytest.approx(3 / 6)
    assert figures["uar"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    f1 = [2 * 2 / (2 * 2 + 0 + 1), 2 * 1 / (2 * 1 + 3 + 0), 0]
    assert figures["macro_f1"] == pytest.approx(np.mean(f1))
    assert figures["weighted_f1"] == pytest.approx((3 * f1[0] + f1[1] + 2 * f1[2]) / 6)
    assert figures["recall"] == pytest.approx({"anger": 2 / 3, "fear": 1, "neutral": 0})
    assert figures["confusion"] == [[2, 1, 0], [0, 1, 0], [0, 2, 0]]


def test_a_class_that_is_not_in_the_test_part_counts_for_nothing() -> None:
    figures = scores([0, 1], [0, 2], CLASSES)
    assert figures["uar"] == pytest.approx(0.5)
    assert set(figures["recall"]) == {"anger", "fear"}


def test_always_the_commonest_class_is_the_baseline() -> None:
    figures = evaluate([prediction(i, truth, 1) for i, truth in enumerate([0, 0, 0, 1])], CLASSES)["folds"]
    assert figures["majority_baseline"] == {"war": 0.75, "uar": 0.5, "emotion": "anger"}


def test_every_fold_is_reported_with_mean_and_spread() -> None:
    rows = [prediction(i, i % 2, 0 if i < 4 else i % 2, fold=i // 4) for i in range(8)]
    figures = evaluate(rows, CLASSES)["folds"]["fused"]
    assert [row["uar"] for row in figures["runs"]] == [0.5, 1.0]
    assert figures["uar_mean"] == pytest.approx(0.75)
    assert figures["uar_sd"] == pytest.approx(np.std([0.5, 1], ddof=1))


def test_clips_without_a_modality_are_scored_by_the_others_alone() -> None:
    rows = [prediction(0, 0, 0), prediction(1, 1, 1), prediction(2, 1, 0, seen=False)]
    figures = evaluate(rows, CLASSES)["folds"]
    assert figures["visual"]["war"] == 1
    assert figures["fused"]["war"] == pytest.approx(2 / 3)


def test_the_interval_is_drawn_over_speakers_not_clips() -> None:
    # Two speakers, one always right and one always wrong: whole speakers give 0, a half or 1.
    rows = [prediction(i, 0, 0 if i < 50 else 1, speaker="ab"[i // 50]) for i in range(100)]
    assert speaker_interval(rows, "fused")["war"] == [0, 1]
    mixed = [prediction(i, 0, i % 2, speaker="ab"[i // 50]) for i in range(100)]
    assert speaker_interval(mixed, "fused")["war"] == [0.5, 0.5]


def test_the_headline_says_where_speakers_are_shared() -> None:
    figures = {"protocols": evaluate([prediction(0, 0, 0), prediction(1, 1, 1)], CLASSES)}
    figures["protocols"]["folds"]["speakers_shared"] = True
    named = {(row["modality"], row["protocol"]) for row in headline(figures)}
    assert named == {
        (modality, "folds (speakers shared)")
        for modality in ("visual", "acoustic", "fused", "video only", "audio only")
    }


def test_predictions_are_one_row_a_clip_and_modality(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", [prediction(0, 2, 1, seen=False)], CLASSES)
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["modality"] for row in rows] == ["acoustic", "fused", "audio_only"]
    assert (rows[0]["clip_id"], rows[0]["truth"], rows[0]["predicted"]) == ("c0", "neutral", "fear")
    assert [float(rows[0][f"p_{name}"]) for name in CLASSES] == [0.1, 0.8, 0.1]


def sure(clip: int, confidence: float, *, right: bool) -> Prediction:
    values = [confidence, 1 - confidence, 0.0]
    return Prediction("folds", False, 0, 0, f"c{clip}", "s", 0 if right else 1, {"fused": values})


def test_calibration_is_how_far_confidence_is_from_being_right() -> None:
    # Between 0.7 and 0.8, of 15 bins one ends at 11/15 = 0.733: 0.70 lies below, 0.75 and 0.76 above.
    rows = [sure(0, 0.70, right=True), sure(1, 0.75, right=True), sure(2, 0.76, right=False), sure(3, 1.0, right=True)]
    told = calibration(rows, "fused")
    assert [row["clips"] for row in told["reliability"]] == [1, 2, 1]
    assert [row["right"] for row in told["reliability"]] == [1, 0.5, 1]
    assert told["reliability"][1]["confidence"] == pytest.approx(0.755)
    assert told["expected_error"] == pytest.approx((0.30 + 2 * 0.255 + 0) / 4)


def test_what_is_compared_is_drawn_alike() -> None:
    # Who is right exactly where the other is wrong: with common draws, both shares add up to one in every draw.
    rows = [prediction(i, 0, i // 50, speaker="ab"[i // 50]) for i in range(100)]
    turned = [prediction(i, 0, 1 - i // 50, speaker="ab"[i // 50]) for i in range(100)]
    speakers = Speakers.of(rows)
    both = speakers.draws(rows, "fused")["war"] + speakers.draws(turned, "fused")["war"]
    np.testing.assert_allclose(both, 1)


def test_the_summary_fits_into_a_line_and_begins_with_the_first_protocol() -> None:
    rows = [prediction(0, 0, 0), prediction(1, 1, 1), prediction(2, 1, 0)]
    folds = evaluate(rows, CLASSES)["folds"]
    told = {"clips": 3, "left_out": [{}], "protocols": {"folds": folds, "random": folds}}
    few = summary(told)
    assert list(few) == ["folds", "random", "clips", "left_out"]
    assert few["folds"]["uar"] == pytest.approx(0.75)
    assert few["folds"]["war"] == pytest.approx(2 / 3)
    assert few["folds"]["uar_low"] <= 0.75 <= few["folds"]["uar_high"]
    assert few["folds"]["baseline_uar"] == 0.5
    assert list(few["random"]) == ["uar"]
    assert few["left_out"] == 1


def test_the_table_for_the_confusion_matrix_is_that_of_the_fused_answers(tmp_path: Path) -> None:
    write_confusion(tmp_path / "c.csv", [prediction(0, 2, 1, seen=False), prediction(1, 0, 0)], CLASSES)
    assert (tmp_path / "c.csv").read_text() == "truth,predicted\nneutral,fear\nanger,anger\n"
