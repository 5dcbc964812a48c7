"""Pictures: every stage leaves one. Drawn without a screen, and with the same bytes each time."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib.figure import Figure

from pipeline.files import written_whole

DPI = 110
SVG_DPI = 54  # of the photographs inside: they lie there as PNG, so a sheet of faces would be many megabytes


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, and beside it as SVG, each whole or not at all."""
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    # Without a salt the names inside an SVG are drawn at random, and its date is that of its writing.
    with written_whole(path.with_suffix(".svg")) as temporary, matplotlib.rc_context({"svg.hashsalt": "fdan"}):
        figure.savefig(temporary, format="svg", dpi=SVG_DPI, metadata={"Date": None})
