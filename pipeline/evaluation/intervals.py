"""95 % intervals of scores and of their differences, by the jackknife over clusters.

The statistic is computed again without each cluster. The spread of these values gives the interval, with Student's t
for one degree of freedom less than there are clusters; clusters of unequal size count as fewer (Carter, Schnepel and
Steigerwald, Asymptotic Behavior of a t-Test Robust to Cluster Heterogeneity, 2017). `python -m benchmarks.inference`
simulates how often such intervals cover the truth.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import t

from pipeline.evaluation.clusters import ClusterCounts
from pipeline.evaluation.schemas import SIGNIFICANCE_LEVEL, Interval

TIE = 1e-9  # margins below it are rounding: all clusters agree
Score = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]  # of counts (..., classes)


def score_interval(counts: ClusterCounts, score: Score) -> Interval:
    """Return the 95 % interval of a score between 0 and 1, symmetric in its logit so that it stays between them.

    A single cluster tells nothing: 0 to 1. If all answers are right, or all are wrong, clusters do not differ; the
    bound is then that of a binomial proportion with the clusters as trials.
    """
    clusters = len(counts)
    if clusters < 2:
        return 0.0, 1.0
    estimate = float(score(*counts.totals))
    if estimate in (0, 1):
        bound = (SIGNIFICANCE_LEVEL / 2) ** (1 / clusters)
        return (bound, 1.0) if estimate else (0.0, 1 - bound)
    variance = estimate * (1 - estimate)
    margin = jackknife_margin(score(*counts.leave_one_out), counts.weights)
    margin = (margin if margin > TIE else _binomial_margin(variance, counts)) / variance
    low, high = expit(logit(estimate) + np.array([-margin, margin]))
    return float(low), float(high)


def difference_interval(counts: ClusterCounts, reference: ClusterCounts, score: Score) -> Interval:
    """Return the 95 % interval of a score minus that of a reference for the same clips; -1 to 1 for one cluster."""
    if len(counts) < 2:
        return -1.0, 1.0
    estimate = float(score(*counts.totals) - score(*reference.totals))
    margin = jackknife_margin(score(*counts.leave_one_out) - score(*reference.leave_one_out), counts.weights)
    margin = margin if margin > TIE else _binomial_margin(abs(estimate) * (1 - abs(estimate)), counts)
    return max(-1.0, estimate - margin), min(1.0, estimate + margin)


def _binomial_margin(variance: float, counts: ClusterCounts) -> float:
    """Return half the width of an interval where all clusters agree, with clips as trials of this variance."""
    return float(t.ppf(1 - SIGNIFICANCE_LEVEL / 2, len(counts) - 1)) * math.sqrt(variance / counts.clips.sum())


def jackknife_margin(leave_one_out: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return half the width of a 95 % interval, from the statistic without each of k > 1 clusters, (k,).

    `weights` (k,) are the clusters' shares of the statistic, in any unit.
    """
    clusters = len(leave_one_out)
    variance = (clusters - 1) / clusters * ((leave_one_out - leave_one_out.mean()) ** 2).sum()
    effective = weights.sum() ** 2 / (weights**2).sum()
    return float(t.ppf(1 - SIGNIFICANCE_LEVEL / 2, max(1.0, effective - 1))) * math.sqrt(variance)
