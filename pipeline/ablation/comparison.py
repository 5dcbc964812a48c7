"""Does it help? Every row of a table trained on the same folds and seeds, compared in pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from pipeline.ablation.table import Row
from pipeline.evaluation.intervals import percentiles

REFERENCE = "full"


def compare(rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    """Return for each row its mean, spread and difference to the reference, with an interval and a paired test.

    Every row has the same runs in the same order. The test is Wilcoxon's signed-rank test over runs, two-sided,
    corrected by Holm for the number of rows compared; the interval is that of the difference when the same speakers
    are drawn for both rows.
    """
    reference = rows[REFERENCE]
    told: list[dict[str, Any]] = []
    for name, row in rows.items():
        difference = np.subtract(row.runs, reference.runs)
        told.append(
            {
                "row": name,
                "runs": len(row.runs),
                "mean": float(np.mean(row.runs)),
                "sd": float(np.std(row.runs, ddof=1)) if len(row.runs) > 1 else None,
                "difference": float(difference.mean()),
                "interval_95": percentiles(row.drawn - reference.drawn),
                "p": None if name == REFERENCE else _paired(difference),
            }
        )
    for row_told, corrected in zip(told, holm([it["p"] for it in told]), strict=True):
        row_told["p_holm"] = corrected
    return told


def smallest_p(runs: int) -> float:
    """Return the smallest p-value that the test can give with so many runs, before any correction."""
    return float(min(1.0, 2.0 ** (1 - runs)))


def _paired(difference: np.ndarray) -> float:
    """Return the p-value; 1 where no run differs at all, for which the test is not defined."""
    return float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's corrected p-values; None stays None and does not count."""
    order = sorted((value, index) for index, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, index) in enumerate(order):
        highest = max(highest, min(1.0, value * (len(order) - rank)))
        corrected[index] = highest
    return corrected
