"""A paired randomisation test that two rows answer the same clips equally well, and Holm's correction."""

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.clusters import ClusterCounts

MOST_EXACT = 14  # clusters up to which all 2^clusters swaps are counted
DRAWS = 10_000  # swaps that are drawn for more clusters
TIE = 1e-9  # of UAR: far above rounding, far below one answer of millions


def swap_p_value(counts: ClusterCounts, reference: ClusterCounts) -> float:
    """Return the two-sided p of a paired randomisation test that two rows answer equally well.

    If they do, it is chance which of the two gave which answers: the rows' answers for whole clusters are swapped, and
    p is the share of swaps with at least the observed difference of UAR. All swaps are counted for up to `MOST_EXACT`
    clusters, else `DRAWS` of them and the observed one.
    """
    if not np.array_equal(counts.clips, reference.clips):
        raise ValueError("the rows answered different clips")
    clips = counts.clips.sum(0)
    shares = np.divide(counts.hits - reference.hits, clips, out=np.zeros(counts.hits.shape), where=clips > 0)
    differences = shares.sum(1) / (clips > 0).sum()  # (clusters,): what each adds to the difference of UAR
    swapped = np.abs(cluster_signs(len(counts)) @ differences)
    extreme = int((swapped >= abs(differences.sum()) - TIE).sum())
    return extreme / len(swapped) if len(counts) <= MOST_EXACT else (1 + extreme) / (1 + DRAWS)


@cache
def cluster_signs(clusters: int) -> NDArray[np.float64]:
    """Return for each swap which clusters are swapped (-1) and which are not (1), (swaps, clusters)."""
    if clusters <= MOST_EXACT:
        return np.array(list(product((1.0, -1.0), repeat=clusters)))
    return np.random.default_rng(0).choice((1.0, -1.0), size=(DRAWS, clusters))


def minimum_p_value(clusters: int) -> float:
    """Return the smallest p-value that the test can give with so many clusters, before any correction."""
    return float(min(1.0, 2.0 ** (1 - clusters))) if clusters <= MOST_EXACT else 1 / (1 + DRAWS)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's corrected p-values; None stays None and does not count."""
    order = sorted((value, index) for index, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, index) in enumerate(order):
        highest = max(highest, min(1.0, value * (len(order) - rank)))
        corrected[index] = highest
    return corrected
