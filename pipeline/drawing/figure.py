"""Pictures: every stage leaves one. Drawn without a screen, and with the same bytes each time."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pipeline.base.files import atomic_write

matplotlib.use("agg")


DPI = 110
SVG_DPI = 54  # of the photographs inside: they lie there as PNG, so a sheet of faces would be many megabytes


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, and beside it as SVG, each whole or not at all."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    # Without a salt the names inside an SVG are drawn at random, and its date is that of its writing.
    with atomic_write(path.with_suffix(".svg")) as temporary, matplotlib.rc_context({"svg.hashsalt": "fdan"}):
        figure.savefig(temporary, format="svg", dpi=SVG_DPI, metadata={"Date": None})


# Okabe and Ito's colours, told apart by colour-blind readers too, but for black: a page may be dark.
COLOURS = (
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#767676",
    "#0072B2",
    "#56B4E9",
    "#F0E442",
    "#AA4499",
    "#661100",
)
