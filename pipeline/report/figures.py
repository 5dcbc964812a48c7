"""Static figures of the report: the most confident mistakes, extraction."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.drawing.figure import COLOURS, save
from pipeline.evaluation.schemas import Mistake
from pipeline.report.extraction_summary import ExtractionReport
from pipeline.report.thumbnails import Thumbnails

GALLERY_COLUMNS = 6
FACE_PX = 96


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
        pictures = [thumbnails.of(modality, clip_id, FACE_PX) for modality in thumbnails.modalities]
        white = np.full((FACE_PX, FACE_PX, 3), 255, np.uint8)
        axis.imshow(np.hstack([white if picture is None else picture for picture in pictures]))
        answer = f"{mistake.truth}, predicted {mistake.predicted} ({mistake.probability:.0%})"
        axis.set_title(f"{clip_id.split('/')[-1]}\n{answer}", fontsize=7)
    save(figure, path)


def draw_extraction(summary: ExtractionReport, path: Path) -> None:
    """Draw how many faces the frames show, if there are any, and how many clips were lost for which reason."""
    counts = summary.faces_per_frame
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    *panels, lost = figure.subplots(1, 2 if any(counts.values()) else 1, squeeze=False).flat
    for frames in panels:
        frames.bar(list(counts), list(counts.values()), color=COLOURS[5])
        frames.set_xlabel("faces per frame", fontsize=9)
        frames.set_ylabel("frames", fontsize=9)
    rows = summary.lost[:8][::-1]
    labels = [textwrap.shorten(f"{row.stage}: {row.reason}", 48) for row in rows]
    lost.barh(range(len(rows)), [row.clips for row in rows], color=COLOURS[0])
    lost.set_yticks(range(len(rows)), labels, fontsize=8)
    lost.set_xlabel("lost clips" if rows else "no clip was lost", fontsize=9)
    save(figure, path)
