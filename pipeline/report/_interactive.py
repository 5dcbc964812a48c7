"""Figures that answer when pointed at: Bokeh models, legible on light and on dark ground, without a script of ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.layouts import column, row
from bokeh.models.annotations import Span
from bokeh.models.css import InlineStyleSheet
from bokeh.models.filters import GroupFilter
from bokeh.models.ranges import FactorRange
from bokeh.models.sources import CDSView, ColumnDataSource
from bokeh.models.tools import HoverTool
from bokeh.models.ui import UIElement
from bokeh.models.widgets import Checkbox
from bokeh.plotting import figure

from pipeline.drawing.figure import COLOURS
from pipeline.evaluation.figures import WHEN
from pipeline.evaluation.intervals import SIGNIFICANT
from pipeline.evaluation.predictions import ANSWERS, MODALITIES
from pipeline.training.curves import Curves

BLUE, SKY, RED = COLOURS[5], COLOURS[6], COLOURS[0]
GREY = "#808080"  # to be read on light ground and on dark
DASHES = ("solid", "dashed", "dotdash", "dotted")
NARROW_PX = 300  # figures side by side stand below one another where less is left for each
MOST_AT_ONCE = 3  # clips that one tooltip shows
# The colours of axes and texts are the page's: it sets Bokeh's CSS variables.
MODALITY_MARKERS = {"visual": "cross", "acoustic": "circle"}
CLIP = """
<div style="display:flex; gap:6px"><img src="@face" alt="face" width="72" height="72">
<img src="@mel" alt="spectrogram" width="72" height="72"></div>
<div style="max-width:200px; overflow-wrap:anywhere"><b>@clip</b><br>truth: @truth<br>answer: @predicted
(@probability{0%})</div>"""


def plot(title: str, **options: Any) -> Any:
    """Return an empty figure of the page's width, through which one can scroll the page."""
    height = options.pop("height", 320)
    made = figure(
        title=title,
        height=height,
        sizing_mode="stretch_width",
        min_width=NARROW_PX,
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag=None,
        active_scroll=None,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        toolbar_location="above",
        **options,
    )
    made.toolbar.logo = None
    return made


def side_by_side(plots: Sequence[UIElement]) -> UIElement:
    """Return figures in a row that breaks where it is too narrow."""
    return row(list(plots), sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}, spacing=12)


def legend(made: Any) -> None:
    """Put the legend below the figure; a click on an entry takes it away."""
    made.legend.click_policy = "hide"
    made.legend.background_fill_alpha = 0
    made.legend.border_line_alpha = 0
    made.legend.location = "top_left"
    made.legend.margin = 0
    made.legend.inactive_fill_color = GREY
    made.legend[0].stylesheets = [InlineStyleSheet(css="div {color: var(--text) !important}")]
    made.add_layout(made.legend[0], "below")


def spread(protocols: Mapping[str, Any], names: Mapping[str, str]) -> UIElement:
    """Return the UAR of every fold and seed, of all test clips with its interval, and the baseline."""
    return side_by_side([_spread(names[name], figures) for name, figures in protocols.items()])


def _spread(title: str, figures: Mapping[str, Any]) -> UIElement:
    answers = {answer.replace("_", " "): figures[answer] for answer in ANSWERS if answer in figures}
    told = list(answers)
    made = plot(title, y_range=FactorRange(factors=told[::-1]), x_range=(0, 100), height=330)
    pooled, each = _all_clips(answers), _runs(answers)
    made.segment("low", "answer", "high", "answer", source=pooled, color=BLUE, line_width=2)
    dots = made.scatter("uar", "answer", source=each, color=SKY, size=8, legend_label="a fold and seed")
    all_together = made.scatter(
        "uar", "answer", source=pooled, color=BLUE, size=12, marker="diamond", legend_label="all, with 95 % interval"
    )
    baseline = 100 * figures["majority_baseline"]["uar"]
    made.line([baseline] * 2, [told[-1], told[0]], color=RED, line_dash="dashed", legend_label="majority baseline")
    made.add_tools(
        HoverTool(
            renderers=[dots],
            tooltips=[("fold, seed", "@fold, @seed"), ("UAR", "@uar{0.0} %"), ("WAR", "@war{0.0} %")],
        ),
        HoverTool(
            renderers=[all_together],
            tooltips=[
                ("all clips", "@answer"),
                ("UAR", "@uar{0.0} %, @low{0.0} to @high{0.0}"),
                ("WAR", "@war{0.0} %"),
            ],
        ),
    )
    made.xaxis.axis_label = "UAR, %"
    legend(made)
    return made


def _all_clips(answers: Mapping[str, Mapping[str, Any]]) -> ColumnDataSource:
    """Return the figures of all test clips, in %, a row an answer."""
    bounds = [it["interval_95"]["uar"] for it in answers.values()]
    return ColumnDataSource(
        {"answer": list(answers)}
        | {key: [100 * it[key] for it in answers.values()] for key in ("uar", "war")}
        | {key: [100 * it[side] for it in bounds] for side, key in enumerate(("low", "high"))}
    )


def _runs(answers: Mapping[str, Mapping[str, Any]]) -> ColumnDataSource:
    """Return the figures of every fold and seed, in %, a row an answer and run."""
    runs = [(name, run) for name, figures in answers.items() for run in figures["runs"]]
    return ColumnDataSource(
        {"answer": [name for name, _ in runs]}
        | {key: [run[key] for _, run in runs] for key in ("fold", "seed")}
        | {key: [100 * run[key] for _, run in runs] for key in ("uar", "war")}
    )


def forest(rows: Sequence[Mapping[str, Any]]) -> UIElement:
    """Return every row's difference to the first, with its interval; filled where it is significant."""
    others = rows[1:]
    made = plot("", y_range=FactorRange(factors=[it["row"] for it in reversed(others)]), height=120 + 28 * len(others))
    source = ColumnDataSource(
        {
            "row": [it["row"] for it in others],
            "difference": [100 * it["difference"] for it in others],
            "low": [100 * it["interval_95"][0] for it in others],
            "high": [100 * it["interval_95"][1] for it in others],
            "p": [it["p_holm"] for it in others],
            "filled": [float(it["p_holm"] < SIGNIFICANT) for it in others],
        }
    )
    made.segment("low", "row", "high", "row", source=source, color=BLUE, line_width=2)
    style = {"line_color": BLUE, "line_width": 2, "fill_color": BLUE, "fill_alpha": "filled"}
    dots = made.scatter("difference", "row", source=source, size=11, **style)
    made.add_layout(Span(location=0, dimension="height", line_color=COLOURS[4], line_dash="dotted"))
    tooltips = [
        ("row", "@row"),
        ("difference", "@difference{+0.0} points, @low{+0.0} to @high{+0.0}"),
        ("p (Holm)", "@p{0.000}"),
    ]
    made.add_tools(HoverTool(renderers=[dots], tooltips=tooltips))
    made.xaxis.axis_label = f"difference to {rows[0]['row']}, points of UAR"
    return made


def curves(told: Curves) -> UIElement:
    """Return training curves: runs thin, their mean thick, layers one by one; a click on the legend hides a line."""
    return side_by_side([_curve(told, title, names) for title, names in told.panels().items()])


def _curve(told: Curves, title: str, names: Sequence[str]) -> UIElement:
    made = plot(title)
    for number, name in enumerate(names):
        style = {"color": COLOURS[5 - number % 5], "line_dash": DASHES[number % len(DASHES)]}
        each = list(told.each(name))
        made.multi_line(
            [epochs for epochs, _ in each],
            [values for _, values in each],
            color=style["color"],
            line_width=0.6,
            line_alpha=0.45,
            legend_label="single runs",
        )
        epochs, values = told.mean(name)
        source = ColumnDataSource({"epoch": epochs, "value": values})
        mean = made.line("epoch", "value", source=source, line_width=3, legend_label=told.label(name), **style)
        tooltips = [("epoch", "@epoch"), (f"mean, {told.label(name)}", "@value{0.000}")]
        made.add_tools(HoverTool(renderers=[mean], tooltips=tooltips, mode="vline"))
    made.xaxis.axis_label = "epoch"
    legend(made)
    return made


def embedding(explored: Mapping[str, Any], classes: Sequence[str], pictures: Mapping[str, Sequence[str]]) -> UIElement:
    """Return both modalities before and after alignment; boxes take emotions away, pointing shows the clip.

    `pictures` are the addresses of each clip's face and spectrogram.
    """
    source = _places(explored["clips"], pictures)
    plots = {when: plot(title, height=420) for when, title in WHEN.items()}
    boxes = []
    for number, name in enumerate(classes):
        view = CDSView(filter=GroupFilter(column_name="truth", group=name))
        box = Checkbox(label=name, active=True, stylesheets=[_accent(COLOURS[number])])
        for when, made in plots.items():
            for modality, marker in MODALITY_MARKERS.items():
                drawn = made.scatter(
                    f"{when}_{modality}_x",
                    f"{when}_{modality}_y",
                    source=source,
                    view=view,
                    marker=marker,
                    size=9,
                    line_color=COLOURS[number],
                    fill_color=None,
                    line_width=1.8,
                    name=f"{when} {modality} {name}",
                )
                box.js_link("active", drawn, "visible")
        boxes.append(box)
    for made in plots.values():
        made.axis.visible = False
        made.grid.visible = False
        made.add_tools(HoverTool(tooltips=CLIP, limit=MOST_AT_ONCE))
    return column(
        row(boxes, styles={"flex-wrap": "wrap"}, spacing=14, sizing_mode="stretch_width"),
        side_by_side(list(plots.values())),
        sizing_mode="stretch_width",
    )


def _places(clips: Sequence[Mapping[str, Any]], pictures: Mapping[str, Sequence[str]]) -> ColumnDataSource:
    """Return one table for all figures and emotions, a row a clip."""
    columns: dict[str, Sequence[Any]] = {
        name: [clip[name] for clip in clips] for name in ("truth", "predicted", "probability")
    }
    columns |= {"clip": [clip["clip_id"] for clip in clips], "face": pictures["face"], "mel": pictures["mel"]}
    for when in WHEN:
        for modality in MODALITY_MARKERS:
            places = [clip[when][modality] or (float("nan"), float("nan")) for clip in clips]
            columns[f"{when}_{modality}_x"], columns[f"{when}_{modality}_y"] = zip(*places, strict=True)
    return ColumnDataSource({name: list(values) for name, values in columns.items()})


def _accent(colour: str) -> InlineStyleSheet:
    """Return the style of a box that is the legend's entry, too."""
    return InlineStyleSheet(
        css=f"input {{accent-color: {colour}; width: 1.2em; height: 1.2em}} "
        f"label, span {{color: var(--text)}} :host {{border-bottom: 3px solid {colour}}}"
    )


def reliability(figures: Mapping[str, Any]) -> UIElement:
    """Return how often answers are right against how sure they are."""
    made = plot("", x_range=(0, 1), y_range=(0, 1), height=360)
    made.line([0, 1], [0, 1], color=COLOURS[4], line_dash="dotted")
    styles = zip(MODALITIES, (RED, BLUE, COLOURS[1]), ("cross", "circle", "square"), strict=True)
    for name, colour, marker in styles:
        if name in figures:
            told = figures[name]["calibration"]
            rows = told["reliability"]
            source = ColumnDataSource({key: [it[key] for it in rows] for key in ("confidence", "right", "clips")})
            label = f"{name}: expected error {told['expected_error']:.1%}"
            made.line("confidence", "right", source=source, color=colour, legend_label=label)
            dots = made.scatter(
                "confidence", "right", source=source, color=colour, size=10, marker=marker, legend_label=label
            )
            tooltips = [(name, "@clips clips"), ("confidence", "@confidence{0%}"), ("right", "@right{0%}")]
            made.add_tools(HoverTool(renderers=[dots], tooltips=tooltips))
    made.xaxis.axis_label = "confidence: the probability of the answer"
    made.yaxis.axis_label = "share of right answers"
    legend(made)
    return made


def faces(told: Mapping[str, Any]) -> UIElement:
    """Return how many frames show how many faces."""
    counts = told["faces_per_frame"]
    source = ColumnDataSource({"faces": list(counts), "frames": list(counts.values())})
    made = plot("", x_range=FactorRange(factors=list(counts)), height=260)
    bars = made.vbar("faces", top="frames", source=source, width=0.7, color=BLUE)
    made.add_tools(HoverTool(renderers=[bars], tooltips=[("faces", "@faces"), ("frames", "@frames")]))
    made.y_range.start = 0
    made.xaxis.axis_label, made.yaxis.axis_label = "faces that a frame shows", "frames"
    return made
