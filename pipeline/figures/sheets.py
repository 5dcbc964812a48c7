"""Contact sheets: a person sees in seconds whether the crops and the spectrograms are good."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.figures import save
from pipeline.media import decode_jpeg, read_frames
from pipeline.sampling import evenly
from pipeline.store import Reader

CLIPS = 12
FACES_A_CLIP = 8


def draw_faces(faces: Reader, media: Mapping[str, Path], path: Path, *, frames_per_clip: int) -> None:
    """Draw every n-th clip, worst scores first: the frame with the least sure box, and crops. `media` are the files."""
    scores = {clip_id: _scores(faces, clip_id) for clip_id in evenly(faces.clip_ids, CLIPS)}
    chosen = sorted(scores, key=lambda clip_id: (scores[clip_id].mean() if len(scores[clip_id]) else -1, clip_id))
    columns = 1 + FACES_A_CLIP
    figure = Figure(figsize=(columns * 1.2 + 2.6, max(1, len(chosen)) * 1.25 + 0.5), layout="constrained")
    figure.suptitle(f"Faces of {len(chosen)} of {len(faces)} clips, those with the worst scores first", fontsize=11)
    axes = figure.subplots(max(1, len(chosen)), columns, squeeze=False)
    for row, clip_id in zip(axes, chosen, strict=False):
        clip = faces[clip_id]
        _draw_frame(row[0], clip, media[clip_id], frames_per_clip)
        count = len(clip["times"])
        shown = np.unique(np.linspace(0, count - 1, FACES_A_CLIP).round().astype(int)) if count else ()
        for axis, index in zip(row[1:], shown, strict=False):
            axis.imshow(decode_jpeg(clip["crops"][index]))
            axis.set_xlabel(f"{clip['times'][index]:.2f} s, {_told(clip, index)}", fontsize=6, labelpad=1)
        told = f"{clip_id.split('/')[-1]}\n{count} faces" + (f", score {scores[clip_id].mean():.2f}" if count else "")
        row[0].set_ylabel(told, fontsize=7, rotation=0, ha="right", va="center")
    _bare(axes)
    save(figure, path)


def _scores(faces: Reader, clip_id: str) -> NDArray[np.float32]:
    """Return the scores (n,) of a clip's boxes; 0 where nobody has seen a face."""
    return np.asarray(faces[clip_id]["boxes"][:, 4], np.float32)


def _told(clip: Mapping[str, Any], index: int) -> str:
    """Return in a word where a box comes from."""
    return (f"{clip['boxes'][index, 4]:.2f}", "filled", "whole")[clip["sources"][index]]


def _draw_frame(axis: Axes, clip: Mapping[str, Any], path: Path, frames_per_clip: int) -> None:
    """Draw the frame whose box is the least sure; without any box, the clip's middle."""
    frames, times = read_frames(path, count=frames_per_clip)
    worst = int(clip["boxes"][:, 4].argmin()) if len(clip["boxes"]) else -1
    index = int(np.abs(times - clip["times"][worst]).argmin()) if worst >= 0 else len(frames) // 2
    axis.imshow(frames[index])
    if worst >= 0:
        x1, y1, x2, y2 = clip["boxes"][worst, :4]
        axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="#E69F00", linewidth=1.2))
        axis.set_xlabel(f"{times[index]:.2f} s, {_told(clip, worst)}", fontsize=6, labelpad=1)


def draw_spectrograms(spectrograms: Reader, path: Path) -> None:
    """Draw the windows of every n-th clip, one row a clip."""
    chosen = evenly(spectrograms.clip_ids, CLIPS)
    columns = max([len(spectrograms[clip_id]["windows"]) for clip_id in chosen] + [1])
    columns = min(columns, FACES_A_CLIP)
    figure = Figure(figsize=(columns * 2.0 + 2.2, max(1, len(chosen)) * 1.1 + 0.5), layout="constrained")
    figure.suptitle(f"Spectrogram windows of {len(chosen)} of {len(spectrograms)} clips", fontsize=11)
    axes = figure.subplots(max(1, len(chosen)), columns, squeeze=False)
    for row, clip_id in zip(axes, chosen, strict=False):
        clip = spectrograms[clip_id]
        for axis, window, time in zip(row, clip["windows"], clip["times"], strict=False):
            axis.imshow(window.T, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="magma")
            axis.set_xlabel(f"{time:.2f} s", fontsize=6, labelpad=1)
        row[0].set_ylabel(clip_id.split("/")[-1], fontsize=7, rotation=0, ha="right", va="center")
    _bare(axes)
    save(figure, path)


def _bare(axes: np.ndarray) -> None:
    """Take away ticks everywhere, and the frames of places where nothing was drawn."""
    axis: Axes
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        if not axis.has_data():
            axis.spines[:].set_visible(False)
