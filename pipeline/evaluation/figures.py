"""What a paper shows: confusion matrices, t-SNE of both modalities, every run, the rows of an ablation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.drawing.figure import COLOURS, save
from pipeline.evaluation.predictions import ANSWERS, MODALITIES, protocol_label

MARKERS = {"visual": "+", "acoustic": "o"}
WHEN = {"before": "before alignment: cached embeddings", "after": "after alignment: the last aligned layer"}


def draw_confusion(
    figures: Mapping[str, Any], classes: Sequence[str], modalities: Sequence[str], path: Path, *, title: str
) -> None:
    """Draw one confusion matrix a modality: in the cells counts and, as a number and as shade, the row's share."""
    shown = [name for name in modalities if name in figures]
    figure = Figure(figsize=(4.8 * len(shown), 5), layout="constrained")
    figure.suptitle(f"Confusion, {title}: truth in rows, prediction in columns", fontsize=11)
    for axis, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        counts = np.asarray(figures[name]["confusion"])
        rates = counts / np.maximum(1, counts.sum(1, keepdims=True))
        axis.imshow(rates, vmin=0, vmax=1, cmap="Blues")
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if rates[row, column] > 0.5 else "black"
            told = f"{count}\n{rates[row, column]:.0%}"
            axis.text(column, row, told, ha="center", va="center", fontsize=7, color=colour)
        axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=8)
        axis.set_yticks(range(len(classes)), classes, fontsize=8)
        axis.set_title(f"{name}: WAR {figures[name]['war']:.1%}, UAR {figures[name]['uar']:.1%}", fontsize=10)
    save(figure, path)


def draw_embedding(explored: Mapping[str, Any], classes: Sequence[str], path: Path) -> None:
    """Draw the t-SNE of both modalities before and after alignment, as `pipeline.exploration` has found it."""
    figure = Figure(figsize=(11.5, 5.2), layout="constrained")
    title = f"Test clips of {explored['protocol']}, fold {explored['fold']}"
    figure.suptitle(f"{title}, t-SNE   (+ visual, o acoustic)", fontsize=11)
    panels: Sequence[Axes] = figure.subplots(1, 2)
    for axis, (when, told) in zip(panels, WHEN.items(), strict=True):
        axis.set_title(told, fontsize=10)
        for modality in MARKERS:
            for number, name in enumerate(classes):
                own = [row[when][modality] for row in explored["clips"] if row["truth"] == name and row[when][modality]]
                style: dict[str, Any] = {"facecolors": "none", "edgecolors": COLOURS[number]}
                if modality == "visual":
                    style = {"c": COLOURS[number], "label": name}
                across, up = zip(*own, strict=True) if own else ((), ())
                axis.scatter(across, up, marker=MARKERS[modality], s=28, linewidths=1.1, **style)
        axis.set_xticks([])
        axis.set_yticks([])
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    save(figure, path)


def draw_spread(protocols: Mapping[str, Any], path: Path) -> None:
    """Draw the UAR of every fold and seed, that of all test clips with its interval, and the baseline."""
    rows = [(name, answer) for name, figures in protocols.items() for answer in ANSWERS if answer in figures]
    figure = Figure(figsize=(8.5, 0.34 * len(rows) + 1.2), layout="constrained")
    axis = figure.subplots()
    for height, (name, answer) in enumerate(reversed(rows)):
        own = protocols[name][answer]
        runs = [100 * run["uar"] for run in own["runs"]]
        low, high = (100 * value for value in own["interval_95"]["uar"])
        axis.plot(runs, [height] * len(runs), "o", color=COLOURS[6], markersize=4, alpha=0.8)
        axis.plot([low, high], [height, height], color=COLOURS[5], linewidth=1.5)
        axis.plot(100 * own["uar"], height, "D", color=COLOURS[5], markersize=6)
        axis.plot(100 * protocols[name]["majority_baseline"]["uar"], height, "|", color=COLOURS[0], markersize=12)
    names = [
        f"{protocol_label(name, speakers_shared=protocols[name]['speakers_shared'])}: {answer.replace('_', ' ')}"
        for name, answer in reversed(rows)
    ]
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.set_xlabel("UAR, %; dots: folds and seeds, diamond: all, with 95 % over speakers, bar: majority", fontsize=9)
    save(figure, path)


def draw_reliability(figures: Mapping[str, Any], path: Path, *, title: str) -> None:
    """Draw how often answers are right against how sure they are; dots are as large as the share of the clips."""
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
    shown = [name for name in MODALITIES if name in figures]
    for name, colour, marker in zip(shown, (COLOURS[0], COLOURS[5], COLOURS[4]), ("+", "o", "s"), strict=False):
        told = figures[name]["calibration"]
        curve = told["reliability"]
        confidence, right, clips = ([row[key] for row in curve] for key in ("confidence", "right", "clips"))
        sizes = [12 + 200 * count / sum(clips) for count in clips]
        label = f"{name}: expected error {told['expected_error']:.1%}"
        axis.plot(confidence, right, color=colour, linewidth=0.8)
        axis.scatter(confidence, right, s=sizes, marker=marker, color=colour, label=label)
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("confidence: the probability of the answer", fontsize=9)
    axis.set_ylabel("share of right answers", fontsize=9)
    axis.set_title(f"Reliability, {title}", fontsize=10)
    axis.legend(fontsize=8, frameon=False, loc="upper left")
    save(figure, path)
