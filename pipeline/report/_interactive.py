"""Interactive figures of the report: Bokeh models, legible on light and on dark ground, without scripts of ours."""

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
from pipeline.evaluation.ablation_schemas import AblationRow
from pipeline.evaluation.figures import WHEN, projection_panels
from pipeline.evaluation.predictions import MODALITIES, answer_label
from pipeline.evaluation.schemas import SIGNIFICANCE_LEVEL, AnswerScores, Exploration, ProjectedClip, ProtocolScores
from pipeline.report.extraction_summary import ExtractionReport
from pipeline.training.curves import Curves

BLUE, SKY, RED = COLOURS[5], COLOURS[6], COLOURS[0]
GREY = "#808080"  # legible on light and on dark ground
DASHES = ("solid", "dashed", "dotdash", "dotted")
NARROW_PX = 300  # figures in a row stack if there is less width for each
MOST_AT_ONCE = 3  # clips in one tooltip
# The page sets the colours of axes and texts by Bokeh's CSS variables.
MODALITY_MARKERS = {"visual": "cross", "acoustic": "circle"}
PICTURE = '<img src="@{name}" alt="{name}" width="72" height="72">'
CLIP = """
<div style="display:flex; gap:6px">{pictures}</div>
<div style="max-width:200px; overflow-wrap:anywhere"><b>@clip</b><br>truth: @truth<br>predicted: @predicted
(@probability{{0%}})</div>"""


def plot(title: str, **options: Any) -> Any:
    """Return an empty figure of the page's width that does not catch the scroll wheel."""
    height = options.pop("height", 320)
    chart = figure(
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
    chart.toolbar.logo = None
    return chart


def side_by_side(plots: Sequence[UIElement]) -> UIElement:
    """Return figures in a row that wraps on narrow pages."""
    return row(list(plots), sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}, spacing=12)


def legend(chart: Any) -> None:
    """Put the legend below the figure; a click on an entry hides its marks."""
    chart.legend.click_policy = "hide"
    chart.legend.background_fill_alpha = 0
    chart.legend.border_line_alpha = 0
    chart.legend.location = "top_left"
    chart.legend.margin = 0
    chart.legend.inactive_fill_color = GREY
    chart.legend[0].stylesheets = [InlineStyleSheet(css="div {color: var(--text) !important}")]
    chart.add_layout(chart.legend[0], "below")


def spread(protocols: Mapping[str, ProtocolScores], names: Mapping[str, str]) -> UIElement:
    """Return the UAR of every fold and seed, of all test clips with its interval, and the baseline."""
    return side_by_side([_spread(names[name], scores) for name, scores in protocols.items()])


def _spread(title: str, scores: ProtocolScores) -> UIElement:
    answers = {answer_label(name): answer for name, answer in scores.shown.items()}
    names = list(answers)
    chart = plot(title, y_range=FactorRange(factors=names[::-1]), x_range=(0, 100), height=330)
    pooled, runs = _all_clips(answers), _runs(answers)
    chart.segment("low", "answer", "high", "answer", source=pooled, color=BLUE, line_width=2)
    dots = chart.scatter("uar", "answer", source=runs, color=SKY, size=8, legend_label="a fold and seed")
    diamonds = chart.scatter(
        "uar",
        "answer",
        source=pooled,
        color=BLUE,
        size=12,
        marker="diamond",
        legend_label="all clips, with 95 % interval",
    )
    baseline = 100 * scores.majority_baseline.uar
    chart.line([baseline] * 2, [names[-1], names[0]], color=RED, line_dash="dashed", legend_label="majority baseline")
    run_tooltips = [("fold, seed", "@fold, @seed"), ("UAR", "@uar{0.0} %"), ("WAR", "@war{0.0} %")]
    pooled_tooltips = [
        ("all clips", "@answer"),
        ("UAR", "@uar{0.0} %, @low{0.0} to @high{0.0}"),
        ("WAR", "@war{0.0} %"),
    ]
    chart.add_tools(
        HoverTool(renderers=[dots], tooltips=run_tooltips), HoverTool(renderers=[diamonds], tooltips=pooled_tooltips)
    )
    chart.xaxis.axis_label = "UAR, %"
    legend(chart)
    return chart


def _all_clips(answers: Mapping[str, AnswerScores]) -> ColumnDataSource:
    """Return the scores of all test clips, in %, with one row for each answer."""
    scores = list(answers.values())
    return ColumnDataSource(
        {
            "answer": list(answers),
            "uar": [100 * it.uar for it in scores],
            "war": [100 * it.war for it in scores],
            "low": [100 * it.interval_95.uar[0] for it in scores],
            "high": [100 * it.interval_95.uar[1] for it in scores],
        }
    )


def _runs(answers: Mapping[str, AnswerScores]) -> ColumnDataSource:
    """Return the scores of every fold and seed, in %, with one row for each answer and run."""
    rows = [(name, run) for name, scores in answers.items() for run in scores.runs]
    return ColumnDataSource(
        {
            "answer": [name for name, _ in rows],
            "fold": [run.fold for _, run in rows],
            "seed": [run.seed for _, run in rows],
            "uar": [100 * run.uar for _, run in rows],
            "war": [100 * run.war for _, run in rows],
        }
    )


def forest(rows: Sequence[AblationRow]) -> UIElement:
    """Return every row's difference to the first row with its interval; a filled dot is significant."""
    others = rows[1:]
    factors = [(it.section, it.name) for it in others]
    chart = plot("", y_range=FactorRange(factors=factors[::-1]), height=120 + 28 * len(others))
    source = ColumnDataSource(
        {
            "factor": factors,
            "row": [it.name for it in others],
            "section": [it.section for it in others],
            "difference": [100 * it.difference for it in others],
            "low": [100 * it.interval_95[0] for it in others],
            "high": [100 * it.interval_95[1] for it in others],
            "p": [it.p_holm for it in others],
            "filled": [float(it.is_significant(SIGNIFICANCE_LEVEL)) for it in others],
        }
    )
    chart.segment("low", "factor", "high", "factor", source=source, color=BLUE, line_width=2)
    style = {"line_color": BLUE, "line_width": 2, "fill_color": BLUE, "fill_alpha": "filled"}
    dots = chart.scatter("difference", "factor", source=source, size=11, **style)
    chart.add_layout(Span(location=0, dimension="height", line_color=COLOURS[4], line_dash="dotted"))
    tooltips = [
        ("row", "@row"),
        ("changes", "@section"),
        ("difference", "@difference{+0.0} points, @low{+0.0} to @high{+0.0}"),
        ("p (Holm)", "@p{0.000}"),
    ]
    chart.add_tools(HoverTool(renderers=[dots], tooltips=tooltips))
    chart.xaxis.axis_label = f"difference to {rows[0].name}, points of UAR"
    return chart


def training_curves(curves: Curves) -> UIElement:
    """Return training curves: runs thin, their mean thick, one line for each layer; the legend hides lines."""
    return side_by_side([_curve(curves, title, names) for title, names in curves.panels().items()])


def _curve(curves: Curves, title: str, names: Sequence[str]) -> UIElement:
    chart = plot(title)
    for number, name in enumerate(names):
        style = {"color": COLOURS[5 - number % 5], "line_dash": DASHES[number % len(DASHES)]}
        runs = list(curves.each(name))
        chart.multi_line(
            [epochs for epochs, _ in runs],
            [values for _, values in runs],
            color=style["color"],
            line_width=0.6,
            line_alpha=0.45,
            legend_label="single runs",
        )
        epochs, values = curves.mean(name)
        source = ColumnDataSource({"epoch": epochs, "value": values})
        mean = chart.line("epoch", "value", source=source, line_width=3, legend_label=curves.label(name), **style)
        tooltips = [("epoch", "@epoch"), (f"mean, {curves.label(name)}", "@value{0.000}")]
        chart.add_tools(HoverTool(renderers=[mean], tooltips=tooltips, mode="vline"))
    chart.xaxis.axis_label = "epoch"
    legend(chart)
    return chart


def projection(exploration: Exploration, classes: Sequence[str], pictures: Mapping[str, Sequence[str]]) -> UIElement:
    """Return the t-SNE of both modalities before and after alignment, or of the only one.

    Boxes hide emotions, tooltips show clips.
    `pictures` are the URIs of each clip's pictures by their name.
    """
    source = _projected(exploration.clips, pictures)
    plots = {when: plot(title, height=420) for when, title in projection_panels(exploration).items()}
    boxes = []
    for number, name in enumerate(classes):
        view = CDSView(filter=GroupFilter(column_name="truth", group=name))
        box = Checkbox(label=name, active=True, stylesheets=[_accent(COLOURS[number])])
        for when, chart in plots.items():
            for modality, marker in MODALITY_MARKERS.items():
                marks = chart.scatter(
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
                box.js_link("active", marks, "visible")
        boxes.append(box)
    for chart in plots.values():
        chart.axis.visible = False
        chart.grid.visible = False
        tooltips = CLIP.format(pictures="".join(PICTURE.format(name=name) for name in pictures))
        chart.add_tools(HoverTool(tooltips=tooltips, limit=MOST_AT_ONCE))
    return column(
        row(boxes, styles={"flex-wrap": "wrap"}, spacing=14, sizing_mode="stretch_width"),
        side_by_side(list(plots.values())),
        sizing_mode="stretch_width",
    )


def _projected(clips: Sequence[ProjectedClip], pictures: Mapping[str, Sequence[str]]) -> ColumnDataSource:
    """Return one table for all figures and emotions, with one row for each clip."""
    columns: dict[str, Sequence[Any]] = {
        "truth": [it.truth for it in clips],
        "predicted": [it.predicted for it in clips],
        "probability": [it.probability for it in clips],
        "clip": [it.clip_id for it in clips],
        **pictures,
    }
    missing = (float("nan"), float("nan"))
    for when in WHEN:
        for modality in MODALITY_MARKERS:
            points = [it.point(when, modality) or missing for it in clips]
            columns[f"{when}_{modality}_x"], columns[f"{when}_{modality}_y"] = zip(*points, strict=True)
    return ColumnDataSource({name: list(values) for name, values in columns.items()})


def _accent(colour: str) -> InlineStyleSheet:
    """Return the style of a box that is also an entry of the legend."""
    return InlineStyleSheet(
        css=f"input {{accent-color: {colour}; width: 1.2em; height: 1.2em}} "
        f"label, span {{color: var(--text)}} :host {{border-bottom: 3px solid {colour}}}"
    )


def reliability(scores: ProtocolScores) -> UIElement:
    """Return accuracy against confidence, in bins."""
    chart = plot("", x_range=(0, 1), y_range=(0, 1), height=360)
    chart.line([0, 1], [0, 1], color=COLOURS[4], line_dash="dotted")
    styles = zip(MODALITIES, (RED, BLUE, COLOURS[1]), ("cross", "circle", "square"), strict=True)
    for name, colour, marker in styles:
        if name in scores.shown:
            calibration = scores.shown[name].calibration
            bins = [it.model_dump() for it in calibration.reliability]
            source = ColumnDataSource({key: [it[key] for it in bins] for key in ("confidence", "accuracy", "clips")})
            label = f"{name}: expected calibration error {calibration.expected_error:.1%}"
            chart.line("confidence", "accuracy", source=source, color=colour, legend_label=label)
            dots = chart.scatter(
                "confidence", "accuracy", source=source, color=colour, size=10, marker=marker, legend_label=label
            )
            tooltips = [(name, "@clips clips"), ("confidence", "@confidence{0%}"), ("accuracy", "@accuracy{0%}")]
            chart.add_tools(HoverTool(renderers=[dots], tooltips=tooltips))
    chart.xaxis.axis_label = "confidence: the probability of the answer"
    chart.yaxis.axis_label = "accuracy"
    legend(chart)
    return chart


def faces(summary: ExtractionReport) -> UIElement:
    """Return how many frames show how many faces."""
    counts = summary.faces_per_frame
    source = ColumnDataSource({"faces": list(counts), "frames": list(counts.values())})
    chart = plot("", x_range=FactorRange(factors=list(counts)), height=260)
    bars = chart.vbar("faces", top="frames", source=source, width=0.7, color=BLUE)
    chart.add_tools(HoverTool(renderers=[bars], tooltips=[("faces", "@faces"), ("frames", "@frames")]))
    chart.y_range.start = 0
    chart.xaxis.axis_label, chart.yaxis.axis_label = "faces per frame", "frames"
    return chart
