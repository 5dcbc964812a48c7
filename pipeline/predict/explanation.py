"""What an answer rests on, one picture a clip: faces, spectrogram, attention, and the answer as time goes by."""

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
from pipeline.heads.examples import Tokens
from pipeline.heads.fdan import FdanHead
from pipeline.media.frames import read_frames
from pipeline.training.answers import fused_probabilities

if TYPE_CHECKING:
    from pipeline.predict.predictor import Answer, Evidence, Predictor

SHOWN = 8  # frames
LOOK_S = 1.0  # what the answer at a time rests on lies no further away than half of this
STEPS = 40


def draw_answers(predictor: "Predictor", evidence: "Evidence", answers: Sequence["Answer"], folder: Path) -> list[Path]:
    """Draw one picture for each clip that has an answer; return the files."""
    drawn = []
    for row, answer in enumerate(answers):
        if answer.probabilities:
            path = folder / f"{row:03}-{answer.path.stem}.png"
            figure = Figure(figsize=(11, 8.5), layout="constrained")
            figure.suptitle(f"{answer.path.name}: {answer.emotion}", fontsize=13)
            rows = cast(Sequence[SubFigure], figure.subfigures(4, 1, height_ratios=(1.1, 1, 1, 1.2)))
            _draw_faces(rows[0].subplots(1, SHOWN), predictor, evidence, answer.path)
            _draw_sound(rows[1].subplots(), evidence, answer.path)
            visual, acoustic = (
                it.take(torch.tensor([row])) for it in (evidence.examples.visual, evidence.examples.acoustic)
            )
            _draw_attention(rows[2].subplots(1, 2), predictor, visual, acoustic)
            told, times = rows[3].subplots(1, 2, width_ratios=(1, 2))
            _draw_probabilities(told, answer)
            _draw_course(times, predictor, visual, acoustic)
            save(figure, path)
            drawn.append(path)
    return drawn


def _draw_faces(axes: NDArray[np.object_], predictor: "Predictor", evidence: "Evidence", path: Path) -> None:
    """Draw frames with the boxes that became crops."""
    for axis in axes:
        axis.set_axis_off()
    clip_id = str(path)
    clip = evidence.faces.get(clip_id, {"times": ()})
    if not len(clip["times"]):
        axes[0].set_title("no face", fontsize=9, loc="left")
        return
    frames, times = read_frames(path, count=predictor.faces.frames_per_clip)
    shown = np.unique(np.linspace(0, len(clip["times"]) - 1, SHOWN).round().astype(int))
    for axis, index in zip(axes, shown, strict=False):
        time, (x1, y1, x2, y2, score) = clip["times"][index], clip["boxes"][index]
        axis.imshow(frames[np.abs(times - time).argmin()])
        axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=COLOURS[3], linewidth=1.5))
        axis.set_title(f"{time:.2f} s, {score:.2f}", fontsize=8)


def _draw_sound(axis: Axes, evidence: "Evidence", path: Path) -> None:
    """Draw the windows where they lie in time."""
    clip_id = str(path)
    if clip_id not in evidence.windows:
        axis.set_axis_off()
        axis.set_title("no sound", fontsize=9, loc="left")
        return
    clip = evidence.windows[clip_id]
    spans = np.stack([clip["times"] - clip["durations"] / 2, clip["times"] + clip["durations"] / 2], 1)
    for window, (start, stop) in zip(clip["windows"], spans, strict=True):
        axis.imshow(
            window.T,
            origin="lower",
            aspect="auto",
            vmin=0,
            vmax=1,
            cmap="magma",
            extent=(start, stop, 0, window.shape[1]),
        )
    axis.set(xlim=(0, spans.max()), ylim=(0, clip["windows"][0].shape[1]))
    axis.set_ylabel("band", fontsize=8)
    axis.set_title("spectrogram windows, by seconds", fontsize=9, loc="left")


def _draw_attention(axes: NDArray[np.object_], predictor: "Predictor", visual: Tokens, acoustic: Tokens) -> None:
    """Draw how much each frame attends to each window, and the reverse."""
    found = predictor.head.attention(visual, acoustic) if isinstance(predictor.head, FdanHead) else {}
    sides = (("visual", visual, acoustic, "frames", "windows"), ("acoustic", acoustic, visual, "windows", "frames"))
    for axis, (kind, own, other, rows, columns) in zip(axes, sides, strict=True):
        if kind not in found or not own.present[0] or not other.present[0]:
            axis.set_axis_off()
            axis.set_title("no attention to another modality", fontsize=9, loc="left")
            continue
        shares = found[kind][0][own.mask[0]][:, 1:][:, other.mask[0]].numpy()
        image = axis.imshow(shares, aspect="auto", cmap="viridis", vmin=0)
        axis.figure.colorbar(image, ax=axis)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(integer=True))
        axis.set_title(f"attention of {rows} (down) to {columns} (across)", fontsize=9, loc="left")


def _draw_probabilities(axis: Axes, answer: "Answer") -> None:
    """Draw bars of the probabilities, by modality."""
    kinds = list(answer.probabilities)
    names = list(answer.probabilities["fused"])
    height = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        places = np.arange(len(names)) + (number - (len(kinds) - 1) / 2) * height
        values = list(answer.probabilities[kind].values())
        axis.barh(places, values, height, label=kind, color=(COLOURS[0], COLOURS[5], COLOURS[4])[number])
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_title("probability", fontsize=9, loc="left")
    axis.legend(fontsize=7)


@torch.inference_mode()
def course(predictor: "Predictor", visual: Tokens, acoustic: Tokens) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return times (n,) in seconds, and what is said (n, C) of what lies within half a second of each."""
    last = max(map(_end, (visual, acoustic)))
    times = torch.linspace(0, last, STEPS)
    near = [
        it._replace(
            values=it.values.expand(STEPS, -1, -1),
            times=it.times.expand(STEPS, -1),
            mask=it.mask & ((it.times - times[:, None]).abs() <= LOOK_S / 2),
        )
        for it in (visual, acoustic)
    ]
    seen, heard = (it.present for it in near)
    said = fused_probabilities(predictor.head(*near), seen, heard)
    known = seen | heard
    return times[known].numpy(), said[known].numpy()


def _end(tokens: Tokens) -> float:
    return float(tokens.times[tokens.mask].max()) if tokens.mask.any() else 0.0


def _draw_course(axis: Axes, predictor: "Predictor", visual: Tokens, acoustic: Tokens) -> None:
    times, said = course(predictor, visual, acoustic)
    for number, name in enumerate(predictor.card.classes):
        axis.plot(times, said[:, number], color=COLOURS[number % len(COLOURS)], label=name, linewidth=1.5)
    axis.set_ylim(0, 1)
    axis.set_title("fused probability of what lies within half a second, by seconds", fontsize=9, loc="left")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
