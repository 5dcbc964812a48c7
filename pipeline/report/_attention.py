"""The interactive figure of cross-attention, frames x windows, for a clip that the reader chooses from a list."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models.annotations import ColorBar
from bokeh.models.css import InlineStyleSheet
from bokeh.models.filters import GroupFilter
from bokeh.models.mappers import LinearColorMapper
from bokeh.models.sources import CDSView, ColumnDataSource
from bokeh.models.tools import HoverTool
from bokeh.models.ui import UIElement
from bokeh.models.widgets import Select

from pipeline.base.selection import evenly_spaced
from pipeline.evaluation.schemas import ClipAttention
from pipeline.report._interactive import GREY, plot, side_by_side
from pipeline.report.thumbnails import Thumbnails, data_uri

PICTURES = 16  # faces and windows along a matrix, at most
PX = 40  # of the pictures in the page; they are shown as
FACE_PX, WINDOW_PX = 23, 38
STRIP = 0.12  # of the figure's side: the strip for the pictures
SELECT = """
select.bk-input, option {background: var(--card) !important; color: var(--text); appearance: auto}
label {color: var(--text)}"""


DIRECTIONS = {
    "frames_to_windows": "Frames attend to windows",
    "windows_to_frames": "Windows attend to frames",
}


def chooser(clips: Sequence[ClipAttention], thumbnails: Thumbnails) -> UIElement:
    """Return the matrices of one clip in both directions, with faces and windows along them, and a list of clips."""
    names = [str(number) for number in range(len(clips))]
    labels: list[str | tuple[Any, str]] = [
        (name, f"{it.clip_id}: {it.truth}, predicted {it.predicted} ({it.probability:.0%})")
        for name, it in zip(names, clips, strict=True)
    ]
    select = Select(title="Clip", value=names[0], options=labels)
    select.sizing_mode = "stretch_width"
    select.stylesheets = [InlineStyleSheet(css=SELECT)]
    chosen = GroupFilter(column_name="clip", group=names[0])
    select.js_link("value", chosen, "group")
    strips = _strips(clips, names, thumbnails)
    plots = [_matrix(direction, title, clips, names, chosen, strips) for direction, title in DIRECTIONS.items()]
    return column(select, side_by_side(plots), sizing_mode="stretch_width")


def _matrix(
    direction: str,
    title: str,
    clips: Sequence[ClipAttention],
    names: Sequence[str],
    chosen: GroupFilter,
    strips: Sequence[ColumnDataSource],
) -> UIElement:
    """Return the matrices of one direction; each fills the unit square, with the first frame on top."""
    matrices = [np.asarray(it.matrix(direction), np.float32)[::-1] for it in clips]
    source = ColumnDataSource({"clip": list(names), "shares": matrices})
    mapper = LinearColorMapper(palette="Cividis256", low=0, high=float(max(it.max() for it in matrices)))
    figure = plot(title, x_range=(-STRIP, 1), y_range=(0, 1 + STRIP), height=440)
    view = CDSView(filter=chosen)
    image = figure.image("shares", x=0, y=0, dw=1, dh=1, source=source, view=view, color_mapper=mapper)
    for strip, px in zip(strips, (FACE_PX, WINDOW_PX), strict=True):
        size = {"w": px, "h": px, "w_units": "screen", "h_units": "screen", "anchor": "center"}
        figure.image_url("url", "x", "y", source=strip, view=CDSView(filter=chosen), **size)
    figure.add_tools(HoverTool(renderers=[image], tooltips=[("share", "@shares{0.0%}")]))
    figure.add_layout(
        ColorBar(color_mapper=mapper, width=10, background_fill_alpha=0, major_label_text_color=GREY), "right"
    )
    figure.axis.visible = False
    figure.grid.visible = False
    return figure


def _strips(
    clips: Sequence[ClipAttention], names: Sequence[str], thumbnails: Thumbnails
) -> tuple[ColumnDataSource, ColumnDataSource]:
    """Return the faces left of the rows and the windows above the columns, in the order of time."""
    rows, columns = ({key: list[Any]() for key in ("clip", "url", "x", "y")} for _ in range(2))
    for name, clip in zip(names, clips, strict=True):
        for table, times, load in (
            (rows, clip.frames_s, thumbnails.faces_at),
            (columns, clip.windows_s, thumbnails.windows_at),
        ):
            positions = evenly_spaced(range(len(times)), PICTURES)
            pictures = load(clip.clip_id, [times[position] for position in positions], PX)
            for position, picture in zip(positions, pictures, strict=True):
                middle = (position + 0.5) / len(times)
                x, y = (-STRIP / 2, 1 - middle) if table is rows else (middle, 1 + STRIP / 2)
                for key, value in zip(table, (name, data_uri(picture), x, y), strict=True):
                    table[key].append(value)
    return ColumnDataSource(rows), ColumnDataSource(columns)
