"""The results on one self-contained page that opens from disk, without a network."""

import base64
import io
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from pipeline.evaluation import headline
from pipeline.provenance import library_versions

LIBRARIES = ("torch", "torchvision", "librosa", "opencv-python", "av", "h5py", "scikit-learn", "fdan")


def render_report(
    metrics: Mapping[str, Any],
    ablation: Mapping[str, Any],
    figures: Mapping[str, bytes],
    params: Mapping[str, Any],
) -> str:
    """Return the page as HTML; `figures` maps titles to PNG files. All text is escaped by the template."""
    environment = Environment(
        loader=PackageLoader("pipeline"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    return environment.get_template("report.html").render(
        metrics=metrics,
        headline=headline(metrics),
        ablation=ablation,
        figures={title: base64.b64encode(data).decode() for title, data in figures.items()},
        params=_yaml(params),
        versions=library_versions(*LIBRARIES),
    )


def _yaml(params: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.dump(dict(params), text)
    return text.getvalue()
