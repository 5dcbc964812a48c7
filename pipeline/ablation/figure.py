"""The figure of the ablation table: every row's UAR, and its difference to the first row."""

import textwrap
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.base.selection import count_noun
from pipeline.drawing.figure import COLOURS, save
from pipeline.evaluation.ablation_schemas import Ablation
from pipeline.evaluation.results import count_clusters
from pipeline.evaluation.schemas import SIGNIFICANCE_LEVEL

NAME_CHARACTERS = 40  # of a line; longer names of rows take several


def draw_ablation(ablation: Ablation, path: Path) -> None:
    """Draw every row's UAR and its difference to the first row, both with their intervals, by section."""
    rows = ablation.rows
    figure = Figure(figsize=(10, 0.42 * len(rows) + 1.3), layout="constrained")
    figure.suptitle(
        f"UAR of the fusion, {ablation.protocol}; 95 % intervals over {count_clusters(ablation)}", fontsize=11
    )
    scores, forest = figure.subplots(1, 2, sharey=True)
    heights = np.arange(len(rows))[::-1]
    for height, row in zip(heights, rows, strict=True):
        fill = COLOURS[5] if row.is_significant(SIGNIFICANCE_LEVEL) else "white"
        drawn = [(scores, row.uar, row.uar_interval, COLOURS[5])]
        drawn += [(forest, row.difference, row.interval_95, fill)] if row is not rows[0] else []
        for axis, value, (low, high), face in drawn:
            axis.plot([100 * low, 100 * high], [height, height], color=COLOURS[5], linewidth=1.5)
            axis.plot(100 * value, height, "o", color=COLOURS[5], markerfacecolor=face)
    scores.axvline(100 * rows[0].uar, color="#999999", linestyle=":", linewidth=1)
    scores.set_yticks(heights, [textwrap.fill(row.name, NAME_CHARACTERS) for row in rows], fontsize=9)
    start = 0
    for section, group in groupby(rows, lambda row: row.section):
        end = start + len(list(group))
        for axis in (scores, forest):
            axis.axhline(len(rows) - end - 0.5, color="#cccccc", linewidth=0.8)
        middle = len(rows) - 1 - (start + end - 1) / 2
        forest.text(1.02, middle, section, transform=forest.get_yaxis_transform(), va="center", fontsize=8)
        start = end
    scores.set_ylim(-0.6, len(rows) - 0.4)
    scores.set_xlabel(f"UAR, %; {count_noun(ablation.seeds, 'seed')}", fontsize=9)
    forest.axvline(0, color="#999999", linestyle=":", linewidth=1)
    filled = f"filled: corrected p < {SIGNIFICANCE_LEVEL}" if ablation.can_conclude else "too few for a test"
    forest.set_xlabel(f"difference to {rows[0].name}, points; {filled}", fontsize=9)
    save(figure, path)
