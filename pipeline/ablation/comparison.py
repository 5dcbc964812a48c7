"""Paired comparison of ablation rows that were trained on the same folds and seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import wilcoxon

from pipeline.ablation.table import RowScores
from pipeline.evaluation.intervals import percentile_interval
from pipeline.evaluation.schemas import AblationRow
from pipeline.evaluation.scores import standard_deviation

REFERENCE = "full"


def compare(rows: Mapping[str, RowScores]) -> list[AblationRow]:
    """Return for each row its mean, spread and difference to the reference, with an interval and a paired test.

    Every row has the same runs in the same order. The test is Wilcoxon's signed-rank test over runs, two-sided,
    with Holm's correction for the number of comparisons. The interval is that of the difference over bootstrap
    samples of speakers, the same samples for both rows.
    """
    reference = rows[REFERENCE]
    differences = {name: np.subtract(row.runs, reference.runs) for name, row in rows.items()}
    p_values = [None if name == REFERENCE else _paired_p_value(it) for name, it in differences.items()]
    return [
        AblationRow(
            name=name,
            runs=len(row.runs),
            mean=float(np.mean(row.runs)),
            sd=standard_deviation(row.runs),
            difference=float(differences[name].mean()),
            interval_95=percentile_interval(row.bootstrap - reference.bootstrap),
            p=p,
            p_holm=corrected,
        )
        for (name, row), p, corrected in zip(rows.items(), p_values, holm(p_values), strict=True)
    ]


def minimum_p_value(runs: int) -> float:
    """Return the smallest p-value that the test can give with so many runs, before any correction."""
    return float(min(1.0, 2.0 ** (1 - runs)))


def _paired_p_value(difference: np.ndarray) -> float:
    """Return the p-value; 1 if no run differs at all, where the test is not defined."""
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
