"""Cross-attention of a chosen clip, frames x windows: the clip is chosen from a list."""

from collections.abc import Mapping, Sequence
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
from pipeline.report._interactive import GREY, plot, side_by_side
from pipeline.report.thumbnails import Thumbnails, data_uri

PICTURES = 16  # faces and windows that stand beside a matrix, at most
PX = 40  # of the pictures that are kept, and as which they are shown:
FACE_PX, WINDOW_PX = 23, 38
STRIP = 0.12  # of the figure's side: the strip that the pictures stand in
SELECT = """
select.bk-input, option {background: var(--card) !important; color: var(--text); appearance: auto}
label {color: var(--text)}"""


KINDS = {
    "frames_to_windows": "Frames attend to windows",
    "windows_to_frames": "Windows attend to frames",
}


def chooser(shown: Sequence[Mapping[str, Any]], thumbnails: Thumbnails) -> UIElement:
    """Return both directions' matrices of one clip, faces at the rows, windows at the columns, and a list of clips."""
    names = [str(number) for number in range(len(shown))]
    labels: list[str | tuple[Any, str]] = [
        (name, f"{it['clip_id']}: {it['truth']}, told {it['predicted']} ({it['probability']:.0%})")
        for name, it in zip(names, shown, strict=True)
    ]
    select = Select(title="Clip", value=names[0], options=labels)
    select.sizing_mode = "stretch_width"
    select.stylesheets = [InlineStyleSheet(css=SELECT)]
    chosen = GroupFilter(column_name="clip", group=names[0])
    select.js_link("value", chosen, "group")
    strips = _strips(shown, names, thumbnails)
    plots = [_matrix(kind, title, shown, names, chosen, strips) for kind, title in KINDS.items()]
    return column(select, side_by_side(plots), sizing_mode="stretch_width")


def _matrix(
    kind: str,
    title: str,
    shown: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    chosen: GroupFilter,
    strips: Sequence[ColumnDataSource],
) -> UIElement:
    """Return one direction: every matrix fills the unit square, the first frame on top."""
    matrices = [np.asarray(it[kind], np.float32)[::-1] for it in shown]
    source = ColumnDataSource({"clip": list(names), "shares": matrices})
    mapper = LinearColorMapper(palette="Cividis256", low=0, high=float(max(it.max() for it in matrices)))
    made = plot(title, x_range=(-STRIP, 1), y_range=(0, 1 + STRIP), height=440)
    drawn = made.image("shares", x=0, y=0, dw=1, dh=1, source=source, view=CDSView(filter=chosen), color_mapper=mapper)
    for strip, px in zip(strips, (FACE_PX, WINDOW_PX), strict=True):
        size = {"w": px, "h": px, "w_units": "screen", "h_units": "screen", "anchor": "center"}
        made.image_url("url", "x", "y", source=strip, view=CDSView(filter=chosen), **size)
    made.add_tools(HoverTool(renderers=[drawn], tooltips=[("share", "@shares{0.0%}")]))
    made.add_layout(
        ColorBar(color_mapper=mapper, width=10, background_fill_alpha=0, major_label_text_color=GREY), "right"
    )
    made.axis.visible = False
    made.grid.visible = False
    return made


def _strips(
    shown: Sequence[Mapping[str, Any]], names: Sequence[str], thumbnails: Thumbnails
) -> tuple[ColumnDataSource, ColumnDataSource]:
    """Return faces, standing left of the rows, and windows, standing above the columns, both in the order of time."""
    rows, columns = ({key: list[Any]() for key in ("clip", "url", "x", "y")} for _ in range(2))
    for name, clip in zip(names, shown, strict=True):
        for table, times, pictures in (
            (rows, clip["frames_s"], thumbnails.faces_at),
            (columns, clip["windows_s"], thumbnails.windows_at),
        ):
            places = evenly_spaced(range(len(times)), PICTURES)
            found = pictures(clip["clip_id"], [times[place] for place in places], PX)
            for place, picture in zip(places, found, strict=True):
                middle = (place + 0.5) / len(times)
                x, y = (-STRIP / 2, 1 - middle) if table is rows else (middle, 1 + STRIP / 2)
                for key, value in zip(table, (name, data_uri(picture), x, y), strict=True):
                    table[key].append(value)
    return ColumnDataSource(rows), ColumnDataSource(columns)
