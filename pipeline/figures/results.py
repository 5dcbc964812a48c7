"""What a paper shows: confusion matrices, both modalities in one t-SNE, the rows of an ablation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from pipeline.figures import save

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = (
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#000000",
    "#0072B2",
    "#56B4E9",
    "#F0E442",
    "#999999",
    "#661100",
)
MARKERS = {"visual": "+", "acoustic": "o"}


def draw_confusion(
    figures: Mapping[str, Any], classes: Sequence[str], modalities: Sequence[str], path: Path, *, title: str
) -> None:
    """Draw one confusion matrix a modality: counts in the cells, the row's share as shade."""
    shown = [name for name in modalities if name in figures]
    figure = Figure(figsize=(4.4 * len(shown), 4.6), layout="constrained")
    figure.suptitle(f"Confusion, {title}: truth in rows, prediction in columns", fontsize=11)
    for axis, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        counts = np.asarray(figures[name]["confusion"])
        rates = counts / np.maximum(1, counts.sum(1, keepdims=True))
        axis.imshow(rates, vmin=0, vmax=1, cmap="Blues")
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if rates[row, column] > 0.5 else "black"
            axis.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
        axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=8)
        axis.set_yticks(range(len(classes)), classes, fontsize=8)
        axis.set_title(f"{name}: WAR {figures[name]['war']:.1%}, UAR {figures[name]['uar']:.1%}", fontsize=10)
    save(figure, path)


def draw_embedding(
    features: Mapping[str, NDArray[np.float32]],
    labels: Mapping[str, NDArray[np.int64]],
    classes: Sequence[str],
    path: Path,
    *,
    title: str,
) -> None:
    """Draw the t-SNE of the aligned features (n, width) of both modalities together; labels are (n,)."""
    together = np.concatenate(list(features.values()))
    perplexity = min(30.0, (len(together) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(together)
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axis = figure.subplots()
    start = 0
    for modality, values in features.items():
        part = places[start : start + len(values)]
        start += len(values)
        for number, name in enumerate(classes):
            own = part[labels[modality] == number]
            style: dict[str, Any] = {"facecolors": "none", "edgecolors": COLOURS[number]}
            if modality == "visual":
                style = {"c": COLOURS[number]}
            label = name if modality == next(iter(features)) else None
            axis.scatter(own[:, 0], own[:, 1], marker=MARKERS[modality], s=28, linewidths=1.1, label=label, **style)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(f"{title}   (+ visual, o acoustic)", fontsize=10)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    save(figure, path)


def draw_ablation(rows: Sequence[Mapping[str, Any]], path: Path, *, title: str) -> None:
    """Draw the mean UAR of every row, its runs' standard deviation as a bar."""
    figure = Figure(figsize=(6.4, 0.45 * len(rows) + 1.1), layout="constrained")
    axis = figure.subplots()
    heights = np.arange(len(rows))[::-1]
    means = [row["mean"] for row in rows]
    axis.errorbar(means, heights, xerr=[row["sd"] or 0 for row in rows], fmt="o", color=COLOURS[5], capsize=3)
    axis.axvline(means[0], color="#999999", linestyle=":", linewidth=1)
    axis.set_yticks(heights, [row["row"] for row in rows], fontsize=9)
    axis.set_xlabel(f"UAR of the fusion, {title}, mean ± sd over runs", fontsize=9)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    save(figure, path)
