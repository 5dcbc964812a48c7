"""Figure of training: losses and validation scores by epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.base.selection import count_noun
from pipeline.drawing.figure import COLOURS, save
from pipeline.training.curves import Curves

DASHES = ("-", "--", "-.", ":")


def draw_curves(curves: Curves, path: Path) -> None:
    """Draw every run as a thin line and their mean as a thick one; the distance of the modalities for each layer."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    figure.suptitle(f"Training, {count_noun(len(curves.runs), 'run')}", fontsize=11)
    panels = curves.panels()
    axes: Sequence[Axes] = figure.subplots(1, len(panels))
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
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
