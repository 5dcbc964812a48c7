"""The reference of `params.yaml`, made of the models that check it: key, type, default, bounds, meaning."""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from data_manifest.corpora.adapters import CORPORA
from data_manifest.splits.protocols import ProtocolConfig
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.params import SECTIONS, Config
from pipeline.base.registry import Table
from pipeline.cli.sections import MODELS
from pipeline.faces.detectors import DETECTORS
from pipeline.heads.table import HEADS
from pipeline.spectrograms.kinds import SPECTROGRAMS

TYPES = {bool: "boolean", int: "integer", float: "number", str: "text", Any: "any"}
BOUNDS = {annotated_types.Ge: "≥", annotated_types.Gt: ">", annotated_types.Le: "≤", annotated_types.Lt: "<"}
NAMES: dict[tuple[str, str], Table] = {  # keys whose value is a name of a table; that of backbones is too long
    ("CorpusConfig", "adapter"): CORPORA,
    ("FacesConfig", "detector"): DETECTORS,
    ("SpectrogramsConfig", "kind"): SPECTROGRAMS,
    ("HeadConfig", "name"): HEADS,
    ("AlignmentConfig", "name"): ALIGNMENTS,
}
HEADINGS = ("key", "type", "default", "bounds", "meaning")
INTRODUCTION = """\
# Parameters

Every key of `params.yaml`, with the default that holds where the file leaves it out. An unknown key, an unknown name or
a value out of bounds is an error of one line that lists what is valid. Where a name is expected (a detector, a
spectrogram, a backbone, a head, an alignment, an adapter), `package.module:function` is valid too: see
[Swap a part](swap.md).
"""
SUBJECTS = {
    "render": "Sample corpora, rendered by code: one entry each. `{}` renders none.",
    "corpora": "One entry per corpus. Its name becomes part of every clip's id.",
    "manifest": "Which clips are used, and under which emotions.",
    "faces": "The visual stream: how faces are detected, followed and cropped.",
    "spectrograms": "The acoustic stream: how audio becomes images.",
    "embed_faces": "The frozen network that turns face crops into tokens.",
    "embed_mels": "The frozen network that turns spectrogram windows into tokens. Same keys as `embed_faces`.",
    "head": "The network that is trained on the tokens. See [The method](method.md).",
    "alignment": "The loss that pulls the features of both modalities together: see [The method](method.md#lmmd).",
    "train": "How heads are trained.",
    "protocols": "One entry per protocol. Ablations use the first one. `kind` decides which other keys an entry takes.",
    "ablations": "One entry per row of the table: what it changes in the sections `faces`, `spectrograms`, "
    "`embed_faces`, `embed_mels`, `head`, `alignment` and `train`. The row `full` changes nothing, and the others are "
    "compared with it. See [Run an ablation](ablation.md).",
    "run": "How a build runs. Nothing here changes a result, so DVC does not track it. See "
    "[Many cores, a cluster, a GPU](cluster.md).",
}


def parameters() -> str:
    """Return the reference of `params.yaml`."""
    return "\n".join([INTRODUCTION, *(section(name) for name in SECTIONS), options()])


def section(name: str) -> str:
    """Return a section's heading, its subject, and its table of keys."""
    model = MODELS[name]
    parts = [f"## `{name}`\n", f"{SUBJECTS[name]}\n"]
    if name == "protocols":
        parts += [protocol(kind) for kind in get_args(get_args(ProtocolConfig)[0])]
    elif name not in ("ablations", "embed_mels"):
        parts.append(keys(get_args(model)[1] if get_args(model) else model))
    return "\n".join(parts)


def protocol(model: type[Config]) -> str:
    (kind,) = get_args(model.model_fields["kind"].annotation)
    fields = keys(model, leave_out="kind")
    return f"### `{kind}`\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n{fields}"


def options() -> str:
    """Return the options of every corpus adapter that has some."""
    parts = ["## Options of the adapters\n", "The adapters that are not listed take no options.\n"]
    for name, adapter in CORPORA.items():
        module = import_module(adapter.__module__)
        models = [it for it in vars(module).values() if inspect.isclass(it) and it.__module__ == adapter.__module__]
        for model in models:
            if issubclass(model, Config) and model.model_fields and name != "sample":
                parts.append(f"### `{name}`\n\n{keys(model)}")
    return "\n".join(parts)


def keys(model: type[BaseModel], *, leave_out: str = "") -> str:
    """Return the table of a model's keys."""
    meanings = dict(field_docstrings(model))
    rows = [
        (f"`{name}`", names_of(model, name) or type_of(it.annotation), default_of(it), bounds_of(it), meanings[name])
        for name, it in model.model_fields.items()
        if name != leave_out
    ]
    return table(HEADINGS, rows)


def field_docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Yield each field's name and the string that follows it in the source, those of base classes first."""
    for kind in reversed(model.__mro__):
        if issubclass(kind, Config) and kind is not Config:
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
            body = definition.body if isinstance(definition, ast.ClassDef) else []
            for node, following in pairwise(body):
                if isinstance(node, ast.AnnAssign) and isinstance(following, ast.Expr):
                    yield ast.unparse(node.target), ast.literal_eval(following.value)


def names_of(model: type[BaseModel], key: str) -> str:
    """Return the names that a table offers for a key, and nothing for other keys; options are any mapping."""
    if key == "options":
        return "mapping"
    names = NAMES.get((model.__name__, key), {})
    return ", ".join(f"`{name}`" for name in names)


def type_of(annotation: Any) -> str:
    """Return a type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{it}`" for it in arguments)
    if origin is UnionType:
        return " or ".join("null" if it is NoneType else type_of(it) for it in arguments)
    if origin is tuple:
        return f"list of {type_of(arguments[0])}s"
    if origin is dict:
        return "mapping"
    return TYPES[annotation]


def default_of(field: FieldInfo) -> str:
    """Return a default as YAML writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    words = {None: "null", True: "true", False: "false", "": "''", (): "[]"}
    if isinstance(value, bool | None) or value in ("", ()):
        return f"`{words[value]}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def bounds_of(field: FieldInfo) -> str:
    """Return the bounds of a value, such as `≥ 0, < 1`."""
    bounds = []
    for constraint in field.metadata:
        for kind, sign in BOUNDS.items():
            if isinstance(constraint, kind):
                bounds.append(f"{sign} {getattr(constraint, kind.__name__.lower())}")
        if isinstance(constraint, annotated_types.MinLen):
            bounds.append(f"at least {constraint.min_length} item")
        if isinstance(constraint, annotated_types.MaxLen):
            bounds.append(f"at most {constraint.max_length} items")
    return ", ".join(bounds)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join(it.replace("|", "\\|") for it in line) + " |" for line in lines) + "\n"
