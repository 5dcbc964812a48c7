"""Calibration of probabilities: how often answers of a given confidence are right."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.clusters import Cluster, cluster_numbers
from pipeline.evaluation.intervals import jackknife_margin
from pipeline.evaluation.predictions import Prediction
from pipeline.evaluation.schemas import Calibration, Interval, ReliabilityBin

MOST_BINS = 15
BIN_CLIPS = 20  # of a bin at least: fewer answers make the error of a perfect calibration look large
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
        expected_error_interval=_interval(confidence, correct, bins, cluster_numbers(predictions, cluster)),
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
    gaps = (correct - confidence)[np.argsort(confidence, kind="stable")]
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, bins)) / len(gaps))


def _interval(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int, clusters: NDArray[np.int64]
) -> Interval:
    """Return the 95 % interval of the expected error, between 0 and 1."""
    numbers, sizes = np.unique(clusters, return_counts=True)
    if len(numbers) < 2:
        return 0.0, 1.0
    without = [expected_error(confidence[kept], correct[kept], bins) for kept in (clusters != it for it in numbers)]
    estimate, margin = (
        expected_error(confidence, correct, bins),
        jackknife_margin(np.array(without), sizes.astype(float)),
    )
    return max(0.0, estimate - margin), min(1.0, estimate + margin)
