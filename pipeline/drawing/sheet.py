"""Contact sheets: a person sees in seconds whether the crops and the spectrograms are good."""

from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

CLIPS = 12
FACES_A_CLIP = 8
LABEL_IN, TITLE_IN = 1.6, 0.4  # the room left of the pictures, and above them


class Sheet:
    """Rows of pictures with a word below each, in one pair of axes: hundreds of pairs would take seconds to draw."""

    def __init__(self, title: str, *, rows: int, columns: int, cell_in: tuple[float, float]) -> None:
        """Make room for pictures of that size in inches (width, height), words included."""
        rows = max(1, rows)  # a corpus without any clip has a sheet, too
        width, height = columns * cell_in[0], rows * cell_in[1]
        self.figure = Figure(figsize=(LABEL_IN + width, TITLE_IN + height))
        self.figure.suptitle(title, fontsize=11, y=1 - 0.1 / (TITLE_IN + height), va="top")
        place = (LABEL_IN / (LABEL_IN + width), 0, width / (LABEL_IN + width), height / (TITLE_IN + height))
        self.axes = self.figure.add_axes(place, xlim=(0, columns), ylim=(rows, 0), autoscale_on=False)
        self.axes.set_axis_off()

    def name(self, row: int, words: str) -> None:
        """Say what a row shows."""
        self.axes.text(-0.05, row + 0.44, words, fontsize=7, ha="right", va="center")

    def show(self, row: int, column: int, picture: NDArray[Any], words: str, **how: Any) -> None:
        """Show a picture (height, width), or with colours, as large as its cell."""
        extent = (column + 0.03, column + 0.97, row + 0.86, row + 0.02)  # left, right, bottom, top
        self.axes.imshow(picture, extent=extent, aspect="auto", **how)
        self.axes.text(column + 0.5, row + 0.88, words, fontsize=6, ha="center", va="top")
