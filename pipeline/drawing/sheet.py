"""Contact sheets: rows of small images with labels."""

from textwrap import wrap
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

CLIPS = 12
IMAGES_PER_CLIP = 8
LABEL_CHARACTERS = 26  # that fit into the margin
LABEL_IN, TITLE_IN = 1.6, 0.4  # the margins left of the images and above them


class Sheet:
    """Rows of images with captions, in one pair of axes: hundreds of pairs would take seconds to draw."""

    def __init__(self, title: str, *, rows: int, columns: int, cell_in: tuple[float, float]) -> None:
        """Create an empty sheet; `cell_in` is the width and height in inches of an image with its caption."""
        rows = max(1, rows)  # a corpus without clips has a sheet, too
        width, height = columns * cell_in[0], rows * cell_in[1]
        self.figure = Figure(figsize=(LABEL_IN + width, TITLE_IN + height))
        self.figure.suptitle(title, fontsize=11, y=1 - 0.1 / (TITLE_IN + height), va="top")
        rectangle = (LABEL_IN / (LABEL_IN + width), 0, width / (LABEL_IN + width), height / (TITLE_IN + height))
        self.axes = self.figure.add_axes(rectangle, xlim=(0, columns), ylim=(rows, 0), autoscale_on=False)
        self.axes.set_axis_off()

    def label_row(self, row: int, label: str) -> None:
        """Write a label to the left of a row; long lines are broken."""
        lines = [part for line in label.split("\n") for part in wrap(line, LABEL_CHARACTERS) or [""]]
        self.axes.text(-0.05, row + 0.44, "\n".join(lines), fontsize=7, ha="right", va="center")

    def draw_image(self, row: int, column: int, image: NDArray[Any], caption: str, **style: Any) -> None:
        """Draw an image (height, width) or (height, width, 3) that fills its cell; `style` goes to `imshow`."""
        extent = (column + 0.03, column + 0.97, row + 0.86, row + 0.02)  # left, right, bottom, top
        self.axes.imshow(image, extent=extent, aspect="auto", **style)
        self.axes.text(column + 0.5, row + 0.88, caption, fontsize=6, ha="center", va="top")
