"""Inference: intervals cover the truth, and the test of two rows rejects as often as it says, in simulations."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t

from benchmarks.inference import (
    Design,
    count_folds,
    measure_calibration_coverage,
    measure_coverage,
    measure_rejections,
    simulate,
)
from pipeline.evaluation.clusters import Cluster, ClusterCounts, choose_cluster, count_answers, uar, war
from pipeline.evaluation.intervals import difference_interval, score_interval
from pipeline.evaluation.predictions import Prediction
from pipeline.evaluation.randomisation import DRAWS, holm, minimum_p_value, swap_p_value


def answer(
    clip: int, truth: int, right: bool, *, fold: int = 0, seed: int = 0, speaker: str = "s", dialogue: str = ""
) -> Prediction:
    values = list(np.eye(3)[truth if right else (truth + 1) % 3])
    return Prediction("p", False, fold, seed, f"c{clip}", speaker, truth, {"fused": values}, 0, dialogue)


@pytest.mark.parametrize(
    ("clips", "cluster"),  # fold, speaker, dialogue
    [
        ([(0, "a", ""), (1, "b", "")], "speaker"),
        ([(0, "a", ""), (0, "b", ""), (1, "c", ""), (1, "d", "")], "fold"),
        ([(0, "a", ""), (1, "a", "")], "fold"),  # sentences or random folds of one speaker
        ([(0, "a", ""), (0, "b", ""), (1, "a", ""), (1, "b", "")], "fold"),
        ([(0, "a", ""), (0, "b", "")], "speaker"),  # one training set
        ([(0, "a", "d1"), (0, "b", "d1"), (0, "a", "d2")], "dialogue"),
        ([(0, "a", "d1"), (0, "b", "")], "speaker"),
    ],
)
def test_cluster_is_what_varies_as_a_whole(clips: Sequence[tuple[int, str, str]], cluster: Cluster) -> None:
    rows = [answer(n, 0, True, fold=fold, speaker=name, dialogue=scene) for n, (fold, name, scene) in enumerate(clips)]
    assert choose_cluster(rows) == cluster


def test_answers_are_counted_by_cluster_and_class_over_seeds() -> None:
    rows = [
        answer(0, 0, True, speaker="b", fold=1),
        answer(0, 0, False, speaker="b", fold=1, seed=1),
        answer(1, 2, True, speaker="a", fold=5),
        answer(1, 2, True, speaker="a", fold=5, seed=1),
        answer(2, 2, False, speaker="a", fold=5),
        answer(2, 2, False, speaker="a", fold=5, seed=1),
    ]
    counts = count_answers(rows, "fused", "speaker")
    assert counts.folds.tolist() == [1, 5]
    assert counts.hits.tolist() == [[1, 0, 0], [0, 0, 2]]
    assert counts.clips.tolist() == [[2, 0, 0], [0, 0, 4]]
    assert float(uar(*counts.totals)) == 0.5  # of the two classes that have a clip
    assert float(war(*counts.totals)) == 0.5
    assert counts.weights == pytest.approx([0.5, 0.5])
    assert len(count_answers(rows, "fused", "dialogue")) == 2  # in two folds


def counts(hits: Sequence[Sequence[int]], clips: Sequence[Sequence[int]]) -> ClusterCounts:
    return ClusterCounts(np.array(hits), np.array(clips), np.arange(len(hits)))


def test_interval_is_that_of_the_jackknife_worked_out_step_by_step() -> None:
    hits, clips = [[3, 1], [2, 0], [5, 2], [4, 4]], [[6, 2], [6, 2], [6, 4], [6, 4]]

    def recall(rows: Sequence[int]) -> float:
        return sum(sum(hits[row][c] for row in rows) / sum(clips[row][c] for row in rows) for c in range(2)) / 2

    without = [recall([row for row in range(4) if row != left_out]) for left_out in range(4)]
    error = (3 / 4 * sum((it - sum(without) / 4) ** 2 for it in without)) ** 0.5
    weights = [(6 / 24 + count / 12) / 2 for count in (2, 2, 4, 4)]
    estimate, freedom = recall(range(4)), sum(weights) ** 2 / sum(it**2 for it in weights) - 1
    margin = t.ppf(0.975, freedom) * error / (estimate * (1 - estimate))
    centre = np.log(estimate / (1 - estimate))
    expected = [1 / (1 + np.exp(-(centre + sign * margin))) for sign in (-1, 1)]
    assert score_interval(counts(hits, clips), uar) == pytest.approx(expected)
    other = counts([[2, 1], [2, 1], [3, 2], [4, 2]], clips)
    low, high = difference_interval(counts(hits, clips), other, uar)
    assert (low + high) / 2 == pytest.approx(estimate - float(uar(*other.totals)))
    assert difference_interval(other, other, uar) == (0, 0)


def test_interval_without_anything_to_measure_is_wide() -> None:
    assert score_interval(counts([[3]], [[6]]), uar) == (0, 1)
    assert difference_interval(counts([[3]], [[6]]), counts([[2]], [[6]]), uar) == (-1, 1)
    # Ten clusters without an error: with a chance of 2.5 %, a proportion of 0.69 shows none in ten trials.
    assert score_interval(counts([[6]] * 10, [[6]] * 10), war) == pytest.approx((0.025**0.1, 1))
    assert score_interval(counts([[0]] * 10, [[6]] * 10), war) == pytest.approx((0, 1 - 0.025**0.1))


def swapped_by_hand(first: NDArray[np.int64], second: NDArray[np.int64], clips: NDArray[np.int64]) -> float:
    """Return p from all swaps, each of which is carried out on the counts, in exact fractions."""

    def difference(swaps: tuple[bool, ...]) -> float:
        mask = np.array(swaps)[:, None]
        sums = [np.where(mask, one, other).sum(0) for one, other in ((second, first), (first, second))]
        return round(abs(float(((sums[0] - sums[1]) / clips.sum(0)).mean())), 12)

    observed = difference((False,) * len(clips))
    return float(np.mean([difference(it) >= observed for it in product((False, True), repeat=len(clips))]))


@pytest.mark.parametrize("seed", range(20))
def test_swap_test_equals_swaps_that_are_carried_out(seed: int) -> None:
    hits, clips = simulate(Design(6, clips=12, gain=0.3), seed)
    first, second = count_folds((hits, clips))
    if (clips.sum(0) > 0).all():
        assert swap_p_value(first, second) == swapped_by_hand(first.hits, second.hits, first.clips)


def test_equal_differences_are_ties_whatever_rounding_makes_of_them() -> None:
    # Clusters differ by +1/3, +1/7 and -1/21 of a class each: sums of such fractions are not exact in floats.
    clips = np.array([[3, 7, 21]] * 3) * 1000
    second = clips // 2
    first = second + 1000 * np.diag([1, 1, -1])
    assert abs(0.1 + 0.2 - 0.3) > 0
    assert swap_p_value(counts(first.tolist(), clips.tolist()), counts(second.tolist(), clips.tolist())) == 0.5
    same = counts(first.tolist(), clips.tolist())
    assert swap_p_value(same, same) == 1


@pytest.mark.parametrize("clusters", [1, 5, 6, 10, 14, 15, 91])
def test_minimum_p_value_is_reached_if_all_clusters_agree(clusters: int) -> None:
    better, worse = counts([[2, 3]] * clusters, [[4, 4]] * clusters), counts([[1, 2]] * clusters, [[4, 4]] * clusters)
    assert swap_p_value(better, worse) == minimum_p_value(clusters)
    assert minimum_p_value(clusters) == (2 / 2**clusters if clusters <= 14 else 1 / (DRAWS + 1))


def test_rows_with_other_clips_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="different clips"):
        swap_p_value(counts([[1]], [[2]]), counts([[1]], [[3]]))


def test_holm_multiplies_by_the_remaining_comparisons_and_is_monotone() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_simulated_scores_have_the_expected_mean() -> None:
    design = Design(30, gain=0.3, seeds=2)
    scores = np.array([[float(uar(*row.totals)) for row in count_folds(simulate(design, n))] for n in range(200)])
    assert scores.mean(0) == pytest.approx([design.truth(0), design.truth(1)], abs=0.01)
    assert design.truth(0) - design.truth(1) > 0.09


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [Design(4, clips=120), Design(10), Design(24), Design(91, clips=80), Design(10, varying=True)],
    ids=["4", "10", "24", "91", "10 of unequal size"],
)
def test_intervals_cover_the_truth_as_often_as_they_say(design: Design) -> None:
    for coverage in measure_coverage(design, 1500):
        assert 0.93 <= coverage <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("clusters", "clips"), [(10, 21), (24, 60)])
@pytest.mark.parametrize("sharpness", [1.0, 1.5])  # calibrated, but for clusters that differ; and too sure
def test_interval_of_the_calibration_error_covers_the_truth(clusters: int, clips: int, sharpness: float) -> None:
    assert 0.93 <= measure_calibration_coverage(clusters, clips, sharpness, 300) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 5, 20])
@pytest.mark.parametrize(("folds", "speakers"), [(6, 4), (10, 1), (24, 1)])
def test_rows_that_are_equally_good_are_rarely_found_different(folds: int, speakers: int, seeds: int) -> None:
    assert measure_rejections(Design(folds, speakers, seeds=seeds), 1500) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize(("folds", "power"), [(5, (0, 0)), (10, (0.35, 0.65)), (24, (0.8, 1))])
def test_a_difference_of_ten_points_is_found_if_there_are_enough_folds(folds: int, power: tuple[float, float]) -> None:
    low, high = power
    assert low <= measure_rejections(Design(folds, seeds=5, gain=0.31), 400) <= high
