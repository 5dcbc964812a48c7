"""Pictures: every stage leaves one. Drawn without a screen, and with the same bytes each time."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib.figure import Figure

from pipeline.files import written_whole

DPI = 110


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, whole or not at all."""
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
