"""The figure of the ablation table: every row's UAR, and its difference to the first row."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.drawing.figure import COLOURS, save
from pipeline.evaluation.intervals import SIGNIFICANCE_LEVEL
from pipeline.evaluation.schemas import AblationRow


def draw_ablation(rows: Sequence[AblationRow], path: Path, *, title: str) -> None:
    """Draw every row's UAR with the spread over runs, and the difference to the first row with its interval."""
    figure = Figure(figsize=(10, 0.42 * len(rows) + 1.2), layout="constrained")
    figure.suptitle(f"UAR of the fusion, {title}", fontsize=11)
    spread, forest = figure.subplots(1, 2, sharey=True)
    heights = np.arange(len(rows))[::-1]
    means = [100 * row.mean for row in rows]
    deviations = [100 * (row.sd or 0) for row in rows]
    spread.errorbar(means, heights, xerr=deviations, fmt="o", color=COLOURS[5], capsize=3)
    spread.axvline(means[0], color="#999999", linestyle=":", linewidth=1)
    spread.set_yticks(heights, [row.name for row in rows], fontsize=9)
    spread.set_xlabel("mean ± sd over runs, %", fontsize=9)
    spread.set_ylim(-0.6, len(rows) - 0.4)
    for height, row in list(zip(heights, rows, strict=True))[1:]:
        low, high = (100 * value for value in row.interval_95)
        fill = COLOURS[5] if row.is_significant(SIGNIFICANCE_LEVEL) else "white"
        forest.plot([low, high], [height, height], color=COLOURS[5], linewidth=1.5)
        forest.plot(100 * row.difference, height, "o", color=COLOURS[5], markerfacecolor=fill)
    forest.axvline(0, color="#999999", linestyle=":", linewidth=1)
    forest.set_xlabel(
        f"difference to {rows[0].name}, points; lines: 95 % over speakers; filled: p < {SIGNIFICANCE_LEVEL}", fontsize=9
    )
    save(figure, path)
