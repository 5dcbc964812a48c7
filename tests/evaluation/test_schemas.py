"""The JSON files of results: they are read as they were written, and their page lists every field."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError
from report_samples import ablation, evaluation, exploration, predictions

from pipeline.base.errors import StoreError
from pipeline.base.provenance import ROOT
from pipeline.evaluation import ablation_schemas, schemas
from pipeline.evaluation.ablation_schemas import Ablation
from pipeline.evaluation.result_file import ResultFile
from pipeline.evaluation.results import headline, summarise
from pipeline.evaluation.schemas import Evaluation, Exploration, Metrics
from pipeline.training.head_file import HeadFile

MODULES = (schemas.__name__, ablation_schemas.__name__)
SAMPLES: list[ResultFile] = [evaluation(), ablation(), exploration(predictions())]
FILES: dict[str, type[ResultFile]] = {
    "results/evaluation.json": Evaluation,
    "results/ablation.json": Ablation,
    "results/explore.json": Exploration,
    "models/head.json": HeadFile,
}
PAGE = (ROOT / "docs/results.md").read_text()
TABLES = re.findall(r"^###? `([\w/.]+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| ([\w ]+) \|", re.MULTILINE)
NAMES: dict[Any, str] = {bool: "boolean", float: "number", int: "integer", str: "string", NoneType: "null"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda it: type(it).__name__)
def test_a_file_is_read_as_it_was_written(tmp_path: Path, sample: ResultFile) -> None:
    sample.write(tmp_path / "x.json")
    assert type(sample).read(tmp_path / "x.json") == sample
    assert next(iter(json.loads((tmp_path / "x.json").read_text()))) == "schema"


@pytest.mark.parametrize("kind", FILES.values())
def test_unreadable_file_is_one_line_with_the_stage_to_run(tmp_path: Path, kind: type[ResultFile]) -> None:
    path = tmp_path / "x.json"
    schema = kind.model_fields["schema_id"].default
    for text, reason in (
        ("{", "Expecting property name"),
        ("[]", f"its schema is None, not '{schema}'"),
        ('{"schema": "fdan.evaluation/0"}', f"its schema is 'fdan.evaluation/0', not '{schema}'"),
        (json.dumps({"schema": schema}), "Field required"),
    ):
        path.write_text(text)
        with pytest.raises(StoreError) as caught:
            kind.read(path)
        message = str(caught.value)
        assert message.startswith(f"{path} is damaged or of another version (")
        assert reason in message
        assert message.endswith(f"run: dvc repro --force {kind.stage}")
        assert "\n" not in message
    with pytest.raises(StoreError, match=r"none.json does not exist; run: dvc repro"):
        kind.read(tmp_path / "none.json")


def test_answers_without_clips_are_left_out_of_the_file() -> None:
    protocol = evaluation().model_dump()["protocols"]["folds"]
    assert "visual" not in protocol
    assert protocol["fused"]["runs"][0] == {"fold": 0, "seed": 0, "war": 1.0, "uar": 1.0}


def test_metrics_of_the_sample_keep_their_bytes(tmp_path: Path) -> None:
    path = ROOT / "results/metrics.json"
    Metrics.model_validate_json(path.read_text()).write(tmp_path / "metrics.json")
    assert (tmp_path / "metrics.json").read_bytes() == path.read_bytes()


def test_metrics_hold_counts_and_protocols_without_a_schema(tmp_path: Path) -> None:
    summarise(evaluation()).write(tmp_path / "metrics.json")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {name: list(value) if isinstance(value, dict) else value for name, value in metrics.items()} == {
        "folds": ["uar", "uar_low", "uar_high", "baseline_uar", "war"],
        "random": ["uar"],
        "clips": 4,
        "left_out": 0,
    }
    for broken in ({"clips": 4}, {"clips": {"uar": 1}, "left_out": 0}, {"clips": 4, "left_out": 0, "folds": 1}):
        with pytest.raises(ValidationError):
            Metrics.model_validate(broken)


def test_scores_are_finite() -> None:
    row = headline(evaluation())[0]
    with pytest.raises(ValidationError, match="finite number"):
        type(row).model_validate(dict(row) | {"war": float("nan")})


def described() -> dict[str, type[BaseModel]]:
    """Return the files and all models that they refer to, by the names of the page."""
    models: dict[str, type[BaseModel]] = {**FILES, "ProtocolMetrics": schemas.ProtocolMetrics}
    waiting = list(models.values())
    while waiting:
        for field in waiting.pop().model_fields.values():
            for model in parts(field.annotation):
                if model.__module__ in MODULES and model.__name__ not in models:
                    models[model.__name__] = model
                    waiting.append(model)
    return models


def parts(annotation: Any) -> list[type[BaseModel]]:
    """Return the models within a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for it in get_args(annotation) for model in parts(it)]


def type_name(annotation: Any) -> str:
    """Return a type as the page writes it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(type_name(it) for it in arguments)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return "string"
    if origin in (list, tuple):
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return "object" if arguments[1] is Any else f"object of {type_name(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, tuple):
        return "list of integer"  # the shapes of a head
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.__name__ if annotation.__module__ in MODULES else "object"
    return NAMES[annotation]


def test_page_describes_every_model_and_no_other() -> None:
    assert {name for name, _ in TABLES} == {*described(), "results/metrics.json"}


@pytest.mark.parametrize("name", sorted(described()))
def test_page_lists_every_field_with_its_type(name: str) -> None:
    model, text = described()[name], dict(TABLES)[name]
    fields = {field.alias or key: type_name(field.annotation) for key, field in model.model_fields.items()}
    if model in (schemas.ProtocolScores, schemas.ProtocolMetrics):  # fields without a value are left out
        fields = {key: kind.removesuffix(" or null") for key, kind in fields.items()}
    assert dict(ROW.findall(text)) == fields
    if "schema" in fields:
        assert f"The schema is `{model.model_fields['schema_id'].default}`" in text


@pytest.mark.slow
def test_reading_results_loads_neither_torch_nor_sklearn() -> None:
    code = "import sys, pipeline.evaluation.results; sys.exit(bool({'torch', 'sklearn', 'h5py'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
