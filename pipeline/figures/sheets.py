"""Contact sheets: a person sees in seconds whether the crops and the spectrograms are good."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.figures import save
from pipeline.media import decode_jpeg
from pipeline.store import Reader

CLIPS = 12
FACES_A_CLIP = 8


def draw_faces(faces: Reader, path: Path) -> None:
    """Draw some crops of every n-th clip, one row a clip, those with the fewest faces first."""
    lengths = dict(zip(faces.clip_ids, np.diff(faces.offsets), strict=True))
    chosen = sorted(_every_nth(faces.clip_ids), key=lambda clip_id: (lengths[clip_id], clip_id))
    figure = Figure(figsize=(FACES_A_CLIP * 1.2 + 2.6, max(1, len(chosen)) * 1.2 + 0.5), layout="constrained")
    figure.suptitle(f"Faces of {len(chosen)} of {len(faces)} clips; those with the fewest first", fontsize=11)
    axes = figure.subplots(max(1, len(chosen)), FACES_A_CLIP, squeeze=False)
    for row, clip_id in zip(axes, chosen, strict=False):
        clip = faces[clip_id]
        shown = np.unique(np.linspace(0, max(0, lengths[clip_id] - 1), FACES_A_CLIP).round().astype(int))
        for axis, index in zip(row, shown[: lengths[clip_id]], strict=False):
            axis.imshow(decode_jpeg(clip["crops"][index]))
            axis.set_xlabel(f"{clip['times'][index]:.2f} s", fontsize=6, labelpad=1)
        label = f"{clip_id.split('/')[-1]}\n{lengths[clip_id]} faces"
        row[0].set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center")
    _bare(axes)
    save(figure, path)


def draw_spectrograms(spectrograms: Reader, path: Path) -> None:
    """Draw the windows of every n-th clip, one row a clip."""
    chosen = _every_nth(spectrograms.clip_ids)
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


def _every_nth(clip_ids: list[str]) -> list[str]:
    """Return CLIPS of them at even distances, first and last included: a fixed step could fall into their rhythm."""
    return (
        [clip_ids[index] for index in np.unique(np.linspace(0, len(clip_ids) - 1, CLIPS).astype(int))]
        if clip_ids
        else []
    )


def _bare(axes: np.ndarray) -> None:
    """Take away ticks everywhere, and the frames of places where nothing was drawn."""
    axis: Axes
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        if not axis.has_data():
            axis.spines[:].set_visible(False)
