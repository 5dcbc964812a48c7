"""Static figures of the report: training curves, attention, the most confident mistakes, extraction."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.drawing.figure import COLOURS, save
from pipeline.evaluation.schemas import ClipAttention, Mistake
from pipeline.report.extraction_summary import ExtractionReport
from pipeline.report.thumbnails import Thumbnails
from pipeline.training.curves import Curves

DASHES = ("-", "--", "-.", ":")
GALLERY_COLUMNS = 6
FACE_PX = 96


def draw_curves(curves: Curves, path: Path) -> None:
    """Draw every run as a thin line and their mean as a thick one; the distance of the modalities for each layer."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    figure.suptitle(f"Training, {len(curves.runs)} runs", fontsize=11)
    panels: Sequence[Axes] = figure.subplots(1, 3)
    for axis, (title, names) in zip(panels, curves.panels().items(), strict=True):
        for number, name in enumerate(names):
            for epochs, values in curves.each(name):
                axis.plot(epochs, values, color=COLOURS[5 - number % 5], linewidth=0.4, alpha=0.5)
            epochs, values = curves.mean(name)
            style: dict[str, Any] = {"color": COLOURS[5 - number % 5], "linestyle": DASHES[number % len(DASHES)]}
            axis.plot(epochs, values, linewidth=2, label=curves.label(name), **style)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch", fontsize=9)
        if len(names) > 1:
            axis.legend(fontsize=8, frameon=False)
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


def draw_mistakes(mistakes: Sequence[Mistake], thumbnails: Thumbnails, path: Path) -> None:
    """Draw the most confident mistakes: face and spectrogram, with truth and prediction above."""
    rows = max(1, -(-len(mistakes) // GALLERY_COLUMNS))
    figure = Figure(figsize=(2.2 * GALLERY_COLUMNS, 1.5 * rows + 0.5))
    figure.suptitle(f"The {len(mistakes)} most confident mistakes" if mistakes else "No mistakes", fontsize=11)
    top = 1 - 0.8 / (1.5 * rows + 0.5)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=top, wspace=0.08, hspace=0.35)
    axes = figure.subplots(rows, GALLERY_COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, mistake in zip(axes.flat, mistakes, strict=False):
        clip_id = mistake.clip_id
        pictures = thumbnails.face(clip_id, FACE_PX), thumbnails.spectrogram(clip_id, FACE_PX)
        white = np.full((FACE_PX, FACE_PX, 3), 255, np.uint8)
        axis.imshow(np.hstack([white if picture is None else picture for picture in pictures]))
        answer = f"{mistake.truth}, predicted {mistake.predicted} ({mistake.probability:.0%})"
        axis.set_title(f"{clip_id.split('/')[-1]}\n{answer}", fontsize=7)
    save(figure, path)


def draw_extraction(summary: ExtractionReport, path: Path) -> None:
    """Draw how many faces the frames show, and how many clips were lost for which reason."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    frames, lost = figure.subplots(1, 2)
    counts = summary.faces_per_frame
    frames.bar(list(counts), list(counts.values()), color=COLOURS[5])
    frames.set_xlabel("faces per frame", fontsize=9)
    frames.set_ylabel("frames", fontsize=9)
    rows = summary.lost[:8][::-1]
    labels = [textwrap.shorten(f"{row.stage}: {row.reason}", 48) for row in rows]
    lost.barh(range(len(rows)), [row.clips for row in rows], color=COLOURS[0])
    lost.set_yticks(range(len(rows)), labels, fontsize=8)
    lost.set_xlabel("lost clips" if rows else "no clip was lost", fontsize=9)
    save(figure, path)
