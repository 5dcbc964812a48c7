"""Figures of the evaluation: confusion, t-SNE of both modalities, scores of every run, calibration, attention."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.drawing.figure import COLOURS, save
from pipeline.evaluation.predictions import MODALITIES, answer_label, protocol_label
from pipeline.evaluation.results import count_clusters, describe_calibration
from pipeline.evaluation.schemas import ClipAttention, Exploration, ProtocolScores

MARKERS = {"visual": "+", "acoustic": "o"}
WHEN = {"before": "before alignment: cached embeddings", "after": "after alignment: the last aligned layer"}


def draw_results(
    protocols: Mapping[str, ProtocolScores], exploration: Exploration, classes: Sequence[str], folder: Path
) -> None:
    """Draw the figures of the stage `evaluate`; `exploration` is that of a run of the first protocol."""
    first = next(iter(protocols.values()))
    draw_confusion(first, classes, folder / "confusion.png", title=exploration.protocol)
    draw_reliability(first, folder / "reliability.png", title=exploration.protocol)
    draw_spread(protocols, folder / "spread.png")
    draw_projection(exploration, classes, folder / "tsne.png")


def draw_confusion(scores: ProtocolScores, classes: Sequence[str], path: Path, *, title: str) -> None:
    """Draw one confusion matrix for each modality: counts, and the row's share as a number and as shade."""
    shown = {name: scores.shown[name] for name in MODALITIES if name in scores.shown}
    figure = Figure(figsize=(4.8 * len(shown), 5), layout="constrained")
    figure.suptitle(f"Confusion, {title}: truth in rows, prediction in columns", fontsize=11)
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for axis, (name, answer) in zip(axes, shown.items(), strict=True):
        counts = np.asarray(answer.confusion)
        rates = counts / np.maximum(1, counts.sum(1, keepdims=True))
        axis.imshow(rates, vmin=0, vmax=1, cmap="Blues")
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if rates[row, column] > 0.5 else "black"
            text = f"{count}\n{rates[row, column]:.0%}"
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
        axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=8)
        axis.set_yticks(range(len(classes)), classes, fontsize=8)
        axis.set_title(f"{name}: WAR {answer.war:.1%}, UAR {answer.uar:.1%}", fontsize=10)
    save(figure, path)


def projection_panels(exploration: Exploration) -> dict[str, str]:
    """Return the title of each t-SNE; where all clips have one modality, nothing is aligned."""
    return WHEN if len(exploration.modalities) == 2 else {"before": "cached embeddings"}


def draw_projection(exploration: Exploration, classes: Sequence[str], path: Path) -> None:
    """Draw the t-SNE of both modalities before and after alignment, or of the only one."""
    titles = projection_panels(exploration)
    figure = Figure(figsize=(5.75 * len(titles), 5.2), layout="constrained")
    title = f"Test clips of {exploration.protocol}, fold {exploration.fold}"
    markers = ", ".join(f"{MARKERS[it]} {it}" for it in exploration.modalities)
    figure.suptitle(f"{title}, t-SNE   ({markers})", fontsize=11)
    panels: Sequence[Axes] = figure.subplots(1, len(titles), squeeze=False)[0]
    for axis, (when, panel_title) in zip(panels, titles.items(), strict=True):
        axis.set_title(panel_title, fontsize=10)
        for modality in MARKERS:
            for number, name in enumerate(classes):
                members = [it.point(when, modality) for it in exploration.clips if it.truth == name]
                points = [it for it in members if it is not None]
                style: dict[str, Any] = {"facecolors": "none", "edgecolors": COLOURS[number]}
                if modality == "visual":
                    style = {"c": COLOURS[number]}
                if modality == exploration.modalities[0]:
                    style["label"] = name
                x, y = zip(*points, strict=True) if points else ((), ())
                axis.scatter(x, y, marker=MARKERS[modality], s=28, linewidths=1.1, **style)
        axis.set_xticks([])
        axis.set_yticks([])
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    save(figure, path)


def draw_spread(protocols: Mapping[str, ProtocolScores], path: Path) -> None:
    """Draw the UAR of every fold and seed, that of all test clips with its interval, and the baseline."""
    rows = [(name, *answer) for name, scores in protocols.items() for answer in scores.shown.items()]
    figure = Figure(figsize=(8.5, 0.34 * len(rows) + 1.2), layout="constrained")
    axis = figure.subplots()
    for height, (name, _, answer) in enumerate(reversed(rows)):
        runs = [100 * run.uar for run in answer.runs]
        low, high = (100 * value for value in answer.interval_95.uar)
        axis.plot(runs, [height] * len(runs), "o", color=COLOURS[6], markersize=4, alpha=0.8)
        axis.plot([low, high], [height, height], color=COLOURS[5], linewidth=1.5)
        axis.plot(100 * answer.uar, height, "D", color=COLOURS[5], markersize=6)
        axis.plot(100 * protocols[name].majority_baseline.uar, height, "|", color=COLOURS[0], markersize=12)
    labels = [
        f"{protocol_label(name, speakers_shared=protocols[name].speakers_shared)}: {answer_label(modality)}"
        for name, modality, _ in reversed(rows)
    ]
    counted = ", ".join(count_clusters(it) for it in protocols.values())
    axis.set_yticks(range(len(rows)), labels, fontsize=8)
    axis.set_xlabel(
        f"UAR, %; dots: folds and seeds, diamond: all clips, bar: majority\nline: 95 % interval over {counted}",
        fontsize=9,
    )
    save(figure, path)


def draw_reliability(scores: ProtocolScores, path: Path, *, title: str) -> None:
    """Draw accuracy against confidence, in bins of equal mass."""
    figure = Figure(figsize=(5.6, 5.4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
    shown = [name for name in MODALITIES if name in scores.shown]
    for name, colour, marker in zip(shown, (COLOURS[0], COLOURS[5], COLOURS[4]), ("+", "o", "s"), strict=False):
        bins = scores.shown[name].calibration.reliability
        confidence, accuracy = [it.confidence for it in bins], [it.accuracy for it in bins]
        label = f"{name}: {describe_calibration(scores.shown[name])}"
        axis.plot(confidence, accuracy, color=colour, linewidth=0.8)
        axis.scatter(confidence, accuracy, s=36, marker=marker, color=colour, label=label)
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("confidence: the probability of the answer", fontsize=9)
    axis.set_ylabel("accuracy", fontsize=9)
    axis.set_title(f"Calibration, {title}", fontsize=10)
    axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    save(figure, path)


def draw_attention(clips: Sequence[ClipAttention], path: Path) -> None:
    """Draw the attention matrices of the first clips, in both directions."""
    first = clips[:4]
    figure = Figure(figsize=(3.2 * max(2, len(first)), 5.6))
    if not first:
        figure.suptitle("No clip with both modalities, or a head without cross-attention", fontsize=11)
        save(figure, path)
        return
    figure.suptitle("Cross-attention: frames in rows, spectrogram windows in columns", fontsize=11)
    figure.subplots_adjust(left=0.06, right=0.98, bottom=0.05, top=0.84, wspace=0.25, hspace=0.3)
    axes = figure.subplots(2, len(first), squeeze=False)
    for direction, row in zip(("frames_to_windows", "windows_to_frames"), axes, strict=True):
        for axis, clip in zip(row, first, strict=True):
            image = axis.imshow(np.asarray(clip.matrix(direction)), aspect="auto", cmap="cividis", vmin=0)
            figure.colorbar(image, ax=axis, shrink=0.8).ax.tick_params(labelsize=6)
            axis.set_title(f"{clip.clip_id.split('/')[-1]}\n{clip.truth}, predicted {clip.predicted}", fontsize=7)
            axis.tick_params(labelsize=6)
        row[0].set_ylabel(direction.replace("_", " "), fontsize=9)
    save(figure, path)
