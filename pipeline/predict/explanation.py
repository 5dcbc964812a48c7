"""Figures that explain predictions, one per clip: faces, spectrogram, attention, and probabilities over time."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.drawing.figure import COLOURS, save
from pipeline.media.frames import UNLIMITED, SampledFrames, shrink_image
from pipeline.store.clips import ClipFaces
from pipeline.store.tokens import Tokens
from pipeline.training.answers import fused_probabilities
from pipeline.training.temperature import apply_temperatures

if TYPE_CHECKING:
    from pipeline.predict.predictor import ClipInputs, ClipPrediction, Predictor

SHOWN = 8  # frames
NOT_IN_NAMES = re.compile(r"[^\w.-]")  # characters of a clip's name that those of its figures lack
STEM_CHARACTERS = 50  # a name has at most 255 bytes, and a character at most 4
SHOWN_PX = 640  # the longer side of a frame
WINDOW_S = 1.0  # the probabilities at a time come from the tokens in a window of this length around it
STEPS = 40


def draw_explanations(
    predictor: "Predictor", inputs: "ClipInputs", predictions: Sequence["ClipPrediction"], folder: Path
) -> list[Path]:
    """Draw a figure for each clip with probabilities, as PNG and SVG; return the PNG files."""
    paths = []
    for row, prediction in enumerate(predictions):
        if prediction.probabilities:
            stem = NOT_IN_NAMES.sub("_", prediction.path.stem)[:STEM_CHARACTERS]
            path = folder / f"{row:03}-{stem}.png"
            figure = Figure(figsize=(11, 8.5), layout="constrained")
            figure.suptitle(f"{prediction.path.name}: {prediction.emotion}", fontsize=13)
            rows = cast(Sequence[SubFigure], figure.subfigures(4, 1, height_ratios=(1.1, 1, 1, 1.2)))
            _draw_faces(rows[0].subplots(1, SHOWN), predictor, inputs, prediction.path)
            _draw_windows(rows[1].subplots(), inputs, prediction.path)
            index = torch.tensor([row])
            visual, acoustic = inputs.examples.visual.batches(index), inputs.examples.acoustic.batches(index)
            _draw_attention(rows[2].subplots(1, 2), predictor, visual, acoustic)
            bars, curves = rows[3].subplots(1, 2, width_ratios=(1, 2))
            _draw_probabilities(bars, prediction)
            _draw_probabilities_over_time(curves, predictor, visual, acoustic)
            save(figure, path)
            paths.append(path)
    return paths


def _draw_faces(axes: NDArray[np.object_], predictor: "Predictor", inputs: "ClipInputs", path: Path) -> None:
    """Draw frames with the boxes that were cropped."""
    for axis in axes:
        axis.set_axis_off()
    clip = inputs.faces.get(str(path), ClipFaces.empty())
    if not len(clip.times):
        axes[0].set_title("no face", fontsize=9, loc="left")
        return
    frames = SampledFrames(path, count=predictor.faces.frames_per_clip, limits=UNLIMITED)
    images = {index: (shrink_image(frame, max_side_px=SHOWN_PX), frame.shape) for index, frame in frames}
    shown = np.unique(np.linspace(0, len(clip.times) - 1, SHOWN).round().astype(int))
    for axis, index in zip(axes, shown, strict=False):
        time, (x1, y1, x2, y2, score) = clip.times[index], clip.boxes[index]
        image, (height, width, _) = images[int(np.abs(frames.times - time).argmin())]
        axis.imshow(image, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
        axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=COLOURS[3], linewidth=1.5))
        axis.set_title(f"{time:.2f} s, {score:.2f}", fontsize=8)


def _draw_windows(axis: Axes, inputs: "ClipInputs", path: Path) -> None:
    """Draw the spectrogram windows at their times."""
    if str(path) not in inputs.windows:
        axis.set_axis_off()
        axis.set_title("no audio", fontsize=9, loc="left")
        return
    clip = inputs.windows[str(path)]
    spans = np.stack([clip.times - clip.durations / 2, clip.times + clip.durations / 2], 1)
    for window, (start, stop) in zip(clip.windows, spans, strict=True):
        axis.imshow(
            window.T,
            origin="lower",
            aspect="auto",
            vmin=0,
            vmax=1,
            cmap="magma",
            extent=(start, stop, 0, window.shape[1]),
        )
    axis.set(xlim=(0, spans.max()), ylim=(0, clip.windows[0].shape[1]))
    axis.set_ylabel("band", fontsize=8)
    axis.set_title("spectrogram windows, time in seconds", fontsize=9, loc="left")


def _draw_attention(axes: NDArray[np.object_], predictor: "Predictor", visual: Tokens, acoustic: Tokens) -> None:
    """Draw the attention of frames to windows, and of windows to frames."""
    attention = predictor.head.attention(visual, acoustic)
    directions = (
        ("visual", visual, acoustic, "frames", "windows"),
        ("acoustic", acoustic, visual, "windows", "frames"),
    )
    for axis, (modality, queries, keys, rows, columns) in zip(axes, directions, strict=True):
        if modality not in attention or not queries.present[0] or not keys.present[0]:
            axis.set_axis_off()
            axis.set_title("no attention to another modality", fontsize=9, loc="left")
            continue
        weights = attention[modality][0][queries.mask[0]][:, 1:][:, keys.mask[0]].numpy()
        image = axis.imshow(weights, aspect="auto", cmap="viridis", vmin=0)
        axis.figure.colorbar(image, ax=axis)
        for ruler in (axis.xaxis, axis.yaxis):
            ruler.set_major_locator(MaxNLocator(integer=True))
        axis.set_title(f"attention of {rows} (rows) to {columns} (columns)", fontsize=9, loc="left")


def _draw_probabilities(axis: Axes, prediction: "ClipPrediction") -> None:
    """Draw bars of the probabilities, by modality."""
    modalities = list(prediction.probabilities)
    names = list(prediction.probabilities["fused"])
    height = 0.8 / len(modalities)
    for number, modality in enumerate(modalities):
        positions = np.arange(len(names)) + (number - (len(modalities) - 1) / 2) * height
        values = list(prediction.probabilities[modality].values())
        axis.barh(positions, values, height, label=modality, color=(COLOURS[0], COLOURS[5], COLOURS[4])[number])
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_title("probability", fontsize=9, loc="left")
    axis.legend(fontsize=7)


@torch.inference_mode()
def probabilities_over_time(
    predictor: "Predictor", visual: Tokens, acoustic: Tokens
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return times (n,) in seconds, and the fused probabilities (n, C) from the tokens within half a second of each.

    `visual` and `acoustic` are the tokens of one clip.
    """
    last_s = max(map(_last_time, (visual, acoustic)))
    times = torch.linspace(0, last_s, STEPS)
    windows = [
        tokens._replace(
            values=tokens.values.expand(STEPS, -1, -1),
            times=tokens.times.expand(STEPS, -1),
            mask=tokens.mask & ((tokens.times - times[:, None]).abs() <= WINDOW_S / 2),
        )
        for tokens in (visual, acoustic)
    ]
    has_visual, has_acoustic = (tokens.present for tokens in windows)
    answers = {"fused": fused_probabilities(predictor.head(*windows), has_visual, has_acoustic)}
    probabilities = apply_temperatures(answers, predictor.card.temperatures)["fused"]
    has_any = has_visual | has_acoustic
    return times[has_any].numpy(), probabilities[has_any].numpy()


def _last_time(tokens: Tokens) -> float:
    return float(tokens.times[tokens.mask].max()) if tokens.mask.any() else 0.0


def _draw_probabilities_over_time(axis: Axes, predictor: "Predictor", visual: Tokens, acoustic: Tokens) -> None:
    times, probabilities = probabilities_over_time(predictor, visual, acoustic)
    for number, name in enumerate(predictor.card.classes):
        axis.plot(times, probabilities[:, number], color=COLOURS[number % len(COLOURS)], label=name, linewidth=1.5)
    axis.set_ylim(0, 1)
    axis.set_title("fused probability of one second around each time, time in seconds", fontsize=9, loc="left")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
