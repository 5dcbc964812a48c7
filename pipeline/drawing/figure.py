"""Saving figures without a screen, with the same bytes each time, and the colours of all figures."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text

from pipeline.base.files import atomic_write
from pipeline.base.text import printable

matplotlib.use("agg")
matplotlib.rcParams["text.parse_math"] = False  # a name may contain dollars

DPI = 110
SVG_DPI = 54  # of embedded photographs, which are PNG: at DPI, a sheet of faces would be many megabytes


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG and, next to it, as SVG; each file is written whole or not at all.

    Unprintable characters of names and reasons are escaped: matplotlib would warn of them, on the terminal.
    """
    for text in figure.findobj(Text):
        lines = text.get_text().split("\n")
        text.set_text("\n".join(map(printable, lines)))
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    # By default, an SVG contains random ids and the current date.
    with atomic_write(path.with_suffix(".svg")) as temporary, matplotlib.rc_context({"svg.hashsalt": "fdan"}):
        figure.savefig(temporary, format="svg", dpi=SVG_DPI, metadata={"Date": None})


# Okabe and Ito's colours, which colour-blind readers can distinguish; without black, since a page may be dark.
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
