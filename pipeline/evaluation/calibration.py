"""Calibration of probabilities: how often answers of a given confidence are right."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.clusters import Cluster, cluster_numbers
from pipeline.evaluation.intervals import jackknife_margin
from pipeline.evaluation.predictions import Prediction
from pipeline.evaluation.randomisation import cluster_signs
from pipeline.evaluation.schemas import SIGNIFICANCE_LEVEL, Calibration, Interval, ReliabilityBin

MOST_BINS = 15
BIN_CLIPS = 20  # of a bin at least: fewer answers make the error of a perfect calibration look large
TIE = 1e-9  # errors that differ by less are equal but for rounding
LOWEST = 1e-12  # a probability counts as at least this in the NLL


def calibration(
    predictions: Sequence[Prediction], probabilities: Sequence[Sequence[float]], cluster: Cluster
) -> Calibration:
    """Return NLL, Brier score, expected calibration error and reliability curve of an answer's probabilities (n, C).

    Confidence is the probability of the answer. Bins have equal mass: as many answers each. Guo et al., On Calibration
    of Modern Neural Networks, 2017; Nixon et al., Measuring Calibration in Deep Learning, 2019.
    """
    values = np.array(probabilities)
    truth = np.array([it.truth for it in predictions])
    confidence, correct = values.max(1), values.argmax(1) == truth
    bins = count_bins(len({it.clip_id for it in predictions}))
    of_truth = values[np.arange(len(truth)), truth]
    return Calibration(
        nll=float(-np.log(np.maximum(of_truth, LOWEST)).mean()),
        brier=float(((values - np.eye(values.shape[1])[truth]) ** 2).sum(1).mean()),
        expected_error=expected_error(confidence, correct, bins),
        expected_error_interval=expected_error_interval(
            confidence, correct, bins, cluster_numbers(predictions, cluster)
        ),
        reliability=[
            ReliabilityBin(
                clips=len(members),
                confidence=float(confidence[members].mean()),
                accuracy=float(correct[members].mean()),
            )
            for members in equal_bins(confidence, bins)
        ],
    )


def count_bins(clips: int) -> int:
    """Return the number of bins for so many different clips."""
    return max(1, min(MOST_BINS, clips // BIN_CLIPS))


def equal_bins(confidence: NDArray[np.float64], bins: int) -> list[NDArray[np.int64]]:
    """Return the positions of the answers in each bin, from the least to the most confident; none is empty."""
    return np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(confidence)))


def expected_error(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int) -> float:
    """Return the mean distance between confidence and accuracy over bins of equal mass."""
    gaps = correct - confidence
    return float(sum(abs(gaps[members].sum()) for members in equal_bins(confidence, bins)) / len(gaps))


def expected_error_interval(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int, clusters: NDArray[np.int64]
) -> Interval:
    """Return the 95 % interval of the expected error, from the number of each answer's cluster (n,).

    The margin is that of the jackknife. Chance makes the error of a perfect calibration larger than 0: the lower bound
    is 0 unless the error is larger than in 97.5 % of the cases where the sign of each cluster's gaps is random.
    """
    numbers, position, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    if len(numbers) < 2:
        return 0.0, 1.0
    error = expected_error(confidence, correct, bins)
    kept = [clusters != it for it in numbers]
    without = np.array([expected_error(confidence[it], correct[it], bins) for it in kept])
    margin = jackknife_margin(without, sizes.astype(float))
    gaps = np.zeros((bins, len(numbers)))
    for row, members in zip(gaps, equal_bins(confidence, bins), strict=False):
        np.add.at(row, position[members], (correct - confidence)[members])
    by_chance = np.abs(cluster_signs(len(numbers)) @ gaps.T).sum(1) / len(confidence)
    is_clear = (by_chance >= error - TIE).mean() <= SIGNIFICANCE_LEVEL / 2  # one of the cases is the error itself
    return max(0.0, error - margin) if is_clear else 0.0, min(1.0, error + margin)
