"""The report: all results on one self-contained page that opens from disk, without a network."""

import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bokeh.models.ui import UIElement
from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from pipeline.base.errors import StoreError
from pipeline.base.files import read_file
from pipeline.base.provenance import library_versions
from pipeline.base.selection import count_noun
from pipeline.evaluation.ablation_schemas import Ablation
from pipeline.evaluation.predictions import MODALITIES, answer_label, protocol_label
from pipeline.evaluation.results import (
    count_clusters,
    describe_clusters,
    explain_linear_rows,
    explain_selection,
    explain_test,
    headline,
)
from pipeline.evaluation.schemas import Evaluation, Exploration, Mistake
from pipeline.report import _attention as attention
from pipeline.report import _interactive as interactive
from pipeline.report._anchors import anchors_for
from pipeline.report._paper_results import paper_results_for
from pipeline.report._web import bokeh_scripts, json_items
from pipeline.report.extraction_summary import ExtractionReport
from pipeline.report.thumbnails import Thumbnails, data_uri, figure_uri
from pipeline.training.curves import Curves

LIBRARIES = ("torch", "torchvision", "librosa", "opencv-python", "av", "h5py", "scikit-learn", "bokeh", "fdan")
SHOWN_MODALITIES = {"attention": {"visual", "acoustic"}, "faces": {"visual"}, "spectrograms": {"acoustic"}}
NO_TOKENS = "none"  # the name of the weights of a modality that no clip has
PICTURES = {"visual": "face", "acoustic": "spectrogram"}
POINT_PX = 48
GALLERY_PX = 96
ROWS = 300  # of a list of clips at most; the files of results hold the whole list
FIGURE_STAGES = {  # figure: the stage that draws it, into a folder of its name in results/figures
    "ablation": "ablate",
    "attention": "report",
    "confusion": "evaluate",
    "curves": "report",
    "extraction": "report",
    "faces": "faces",
    "mistakes": "report",
    "reliability": "evaluate",
    "spectrograms": "spectrograms",
    "spread": "evaluate",
    "tsne": "evaluate",
}


@dataclass(frozen=True)
class Results:
    """All that the page shows."""

    evaluation: Evaluation
    ablation: Ablation
    exploration: Exploration
    extraction: ExtractionReport
    curves: Curves
    figures: Mapping[str, bytes]  # PNG files by name
    params: Mapping[str, Any]

    @property
    def modalities(self) -> list[str]:
        """The modalities that any clip has."""
        return [name for name, weights in self.evaluation.weights.items() if weights != NO_TOKENS]

    @property
    def protocol_labels(self) -> dict[str, str]:
        """The protocols by name, as the page writes them."""
        return {
            name: protocol_label(name, speakers_shared=scores.speakers_shared)
            for name, scores in self.evaluation.protocols.items()
        }


@dataclass(frozen=True)
class ConfusionTable:
    """A confusion matrix for the page: for each true emotion, cells of a count and the row's share."""

    protocol: str
    modality: str
    rows: list[tuple[str, list[tuple[int, float]]]]


@dataclass(frozen=True)
class GalleryItem:
    """A mistake with the URIs of its pictures; None where the clip lacks one."""

    mistake: Mistake
    pictures: dict[str, str | None]


def read_figures(folder: Path, modalities: Collection[str]) -> dict[str, bytes]:
    """Return the PNG files of the modalities by name, from a folder of each stage; none may lack."""
    return {
        name: read_file(folder / stage / f"{name}.png", raises=StoreError, fix=f"run: dvc repro --force {stage}")
        for name, stage in FIGURE_STAGES.items()
        if SHOWN_MODALITIES.get(name, set()) <= {*modalities}
    }


def render_report(results: Results, thumbnails: Thumbnails) -> str:
    """Return the page as HTML. The template, its filter tojson and Bokeh's tooltips escape all text."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["answer_label"] = answer_label
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.globals["count_noun"] = count_noun
    environment.globals["figure_stages"] = FIGURE_STAGES
    environment.globals["count_clusters"] = count_clusters
    # Bokeh's JSON defines a model where it occurs first, so the order of keys matters.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return environment.get_template("report.html").render(
        evaluation=results.evaluation,
        headline=headline(results.evaluation),
        clusters=describe_clusters(results.evaluation),
        ablation=results.ablation,
        explanations=[
            explain_test(results.ablation),
            explain_selection(results.ablation),
            *explain_linear_rows(results.ablation),
        ],
        exploration=results.exploration,
        modalities=results.modalities,
        extraction=results.extraction,
        confusion=confusion_tables(results),
        protocol_labels=results.protocol_labels,
        mistakes=gallery(results.exploration.mistakes, thumbnails, results.modalities),
        anchors=anchors_for(results.params),
        paper_results=paper_results_for(results.params),
        figures={name: figure_uri(png) for name, png in results.figures.items()},
        plots=json_items(plots(results, thumbnails)),
        scripts=bokeh_scripts(),
        params=_yaml(results.params),
        versions=library_versions(*LIBRARIES),
        rows=ROWS,
    )


def plots(results: Results, thumbnails: Thumbnails) -> dict[str, UIElement]:
    """Return the interactive figures by the id of their HTML element."""
    protocols, exploration = results.evaluation.protocols, results.exploration
    first = next(iter(protocols.values()))
    clip_ids = [it.clip_id for it in exploration.clips]
    pictures = {
        PICTURES[modality]: [data_uri(thumbnails.of(modality, clip_id, POINT_PX)) for clip_id in clip_ids]
        for modality in results.modalities
    }
    models = {
        "spread": interactive.spread(protocols, results.protocol_labels),
        "reliability": interactive.reliability(first),
        "ablation": interactive.forest(results.ablation.rows),
        "curves": interactive.training_curves(results.curves),
        "tsne": interactive.projection(exploration, results.evaluation.classes, pictures),
    }
    if "visual" in results.modalities:
        models["extraction"] = interactive.faces(results.extraction)
    if exploration.attention:
        models["attention"] = attention.chooser(exploration.attention, thumbnails)
    return {f"plot-{name}": model for name, model in models.items()}


def confusion_tables(results: Results) -> list[ConfusionTable]:
    """Return the confusion matrix of every protocol and modality."""
    tables = []
    for name, scores in results.evaluation.protocols.items():
        for modality in MODALITIES:
            if modality in scores.shown:
                counts = zip(results.evaluation.classes, scores.shown[modality].confusion, strict=True)
                rows = [(truth, [(count, count / max(1, sum(row))) for count in row]) for truth, row in counts]
                tables.append(ConfusionTable(results.protocol_labels[name], modality, rows))
    return tables


def gallery(mistakes: Sequence[Mistake], thumbnails: Thumbnails, modalities: Sequence[str]) -> list[GalleryItem]:
    """Return the mistakes with their pictures of some modalities."""
    items = []
    for mistake in mistakes:
        pictures = {PICTURES[it]: thumbnails.of(it, mistake.clip_id, GALLERY_PX) for it in modalities}
        uris = {name: None if picture is None else data_uri(picture) for name, picture in pictures.items()}
        items.append(GalleryItem(mistake, uris))
    return items


def _yaml(params: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.dump(json.loads(json.dumps(params)), text)  # JSON expands YAML's aliases
    return text.getvalue()
