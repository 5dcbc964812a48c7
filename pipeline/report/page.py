"""The results on one self-contained page that opens from disk, without a network."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models.ui import UIElement
from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from pipeline.base.provenance import library_versions
from pipeline.evaluation.predictions import ANSWERS, MODALITIES, protocol_label
from pipeline.evaluation.results import headline
from pipeline.report import _attention as attention
from pipeline.report import _interactive as interactive
from pipeline.report._paper_results import paper_results_for
from pipeline.report._web import bokeh_scripts, json_items
from pipeline.report.thumbnails import Thumbnails, data_uri, figure_uri
from pipeline.training.curves import Curves

LIBRARIES = ("torch", "torchvision", "librosa", "opencv-python", "av", "h5py", "scikit-learn", "bokeh", "fdan")
POINT_PX = 48
GALLERY_PX = 96
ROWS = 300  # of a list of clips at most: the whole list lies in a table of its own


@dataclass(frozen=True)
class Results:
    """All that the page shows."""

    metrics: Mapping[str, Any]
    ablation: Mapping[str, Any]
    explored: Mapping[str, Any]
    health: Mapping[str, Any]
    curves: Curves
    figures: Mapping[str, bytes]  # PNG files by name
    params: Mapping[str, Any]

    @property
    def classes(self) -> Sequence[str]:
        """The emotions."""
        return list(self.metrics["classes"])

    @property
    def names(self) -> dict[str, str]:
        """The protocols as they are written on the page."""
        return {
            name: protocol_label(name, speakers_shared=own["speakers_shared"])
            for name, own in self.metrics["protocols"].items()
        }


def render_report(results: Results, thumbnails: Thumbnails) -> str:
    """Return the page as HTML. All text is escaped: by the template, by its filter tojson, and by Bokeh's tooltips."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    # In Bokeh's JSON a model stands where it is met first: its order matters.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    metrics = results.metrics
    return environment.get_template("report.html").render(
        metrics=metrics,
        headline=headline(metrics),
        ablation=results.ablation,
        explored=results.explored,
        health=results.health,
        confusion=confusion(results),
        names=results.names,
        answers=ANSWERS,
        mistakes=gallery(results.explored["mistakes"], thumbnails),
        published=paper_results_for(results.params),
        figures={name: figure_uri(png) for name, png in results.figures.items()},
        plots=json_items(plots(results, thumbnails)),
        scripts=bokeh_scripts(),
        params=_yaml(results.params),
        versions=library_versions(*LIBRARIES),
        rows=ROWS,
    )


def plots(results: Results, thumbnails: Thumbnails) -> dict[str, UIElement]:
    """Return the figures that answer when pointed at, by the id of the element in which each stands."""
    protocols = results.metrics["protocols"]
    first = next(iter(protocols.values()))
    clips = [clip["clip_id"] for clip in results.explored["clips"]]
    pictures = {
        "face": [data_uri(thumbnails.face(clip_id, POINT_PX)) for clip_id in clips],
        "mel": [data_uri(thumbnails.spectrogram(clip_id, POINT_PX)) for clip_id in clips],
    }
    made = {
        "spread": interactive.spread(protocols, results.names),
        "reliability": interactive.reliability(first),
        "ablation": interactive.forest(results.ablation["rows"]),
        "curves": interactive.curves(results.curves),
        "tsne": interactive.embedding(results.explored, results.classes, pictures),
        "extraction": interactive.faces(results.health),
    }
    if results.explored["attention"]:
        made["attention"] = attention.chooser(results.explored["attention"], thumbnails)
    return {f"plot-{name}": model for name, model in made.items()}


def confusion(results: Results) -> list[dict[str, Any]]:
    """Return every confusion matrix with its title: rows of the truth, cells of a count and the row's share."""
    tables = []
    for name, figures in results.metrics["protocols"].items():
        for modality in MODALITIES:
            if modality in figures:
                rows = [
                    {"truth": truth, "cells": [(count, count / max(1, sum(counts))) for count in counts]}
                    for truth, counts in zip(results.classes, figures[modality]["confusion"], strict=True)
                ]
                tables.append({"protocol": results.names[name], "modality": modality, "rows": rows})
    return tables


def gallery(mistakes: Sequence[Mapping[str, Any]], thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """Return the mistakes with the addresses of their pictures, none where a clip lacks one."""
    rows = []
    for row in mistakes:
        face, window = (it(row["clip_id"], GALLERY_PX) for it in (thumbnails.face, thumbnails.spectrogram))
        pictures = {"face": face, "sound": window}
        found = {what: None if picture is None else data_uri(picture) for what, picture in pictures.items()}
        rows.append({**row, "pictures": found})
    return rows


def _yaml(params: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.dump(json.loads(json.dumps(params)), text)  # written out wherever the file refers to another place
    return text.getvalue()
