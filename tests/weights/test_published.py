"""Missing weights end a build before any extraction, and `fdan doctor` calls them a fault in the same words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import make_clip
from publisher import CONTENT, Publisher, publish_weights
from ruamel.yaml import YAML
from typer.testing import CliRunner

from data_manifest.manifest.weights import fetch_weights
from pipeline.base.errors import WeightsError
from pipeline.base.files import cache_folder
from pipeline.base.provenance import ROOT
from pipeline.cli.main import app
from pipeline.weights.files import WeightFile

DEAD = "http://127.0.0.1:9/net.pth"  # nothing listens there
NEEDS: list[tuple[str, dict[str, Any]]] = [
    ("faces.weights", {"faces": {"detector": "yunet"}}),
    ("faces.landmark_weights", {"faces": {"align": "fan"}}),
    ("embed_faces.weights", {"embed_faces": {"weights": "imagenet"}}),
    ("embed_mels.weights", {"embed_mels": {"weights": "imagenet"}}),
]
PATHS: list[tuple[str, str, dict[str, Any]]] = [
    ("faces.weights", "no.onnx", {"faces": {"weights": "no.onnx"}}),
    ("faces.weights", "anchors.npy", {"faces": {"detector": "blazeface", "weights": "params.yaml"}}),
    ("faces.landmark_weights", "no.pth", {"faces": {"align": "fan", "landmark_weights": "no.pth"}}),
    ("embed_faces.weights", "no.pth", {"embed_faces": {"weights": "no.pth"}}),
    ("embed_mels.weights", "n" * 300, {"embed_mels": {"weights": "n" * 300}}),
]


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publish_weights() as server:
        yield server


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_params(changes: dict[str, Any], root: str = "data/sample") -> None:
    """Write the project's parameters with changes in some sections, and another root of the sample."""
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    for section, values in changes.items():
        params[section] = params[section] | values
    params["corpora"]["sample"]["root"] = root
    Path("params.yaml").write_text(json.dumps(params))


def publish(monkeypatch: pytest.MonkeyPatch, weights: WeightFile) -> None:
    """Make this file the only published one, of every model that has any."""
    for table, name in (("DETECTOR_FILES", "yunet"), ("LANDMARK_FILES", "fan")):
        monkeypatch.setattr(f"pipeline.weights.published.{table}", {name: (weights,)})
    monkeypatch.setattr("pipeline.weights.published.backbone_files", lambda: {"resnet34": weights})


def doctor_line(key: str) -> str:
    """Return the line of `fdan doctor` about a key."""
    output = CliRunner(env={"COLUMNS": "1000"}).invoke(app, ["doctor"]).output
    (line,) = (line for line in output.splitlines() if f" {key}: " in line)
    return line


def manifest_error() -> str:
    """Return the error with which the stage `manifest` ends for a corpus with video and sound."""
    with pytest.raises(WeightsError) as error:
        fetch_weights([make_clip("a", modalities="visual+acoustic")])
    return str(error.value)


@pytest.mark.parametrize(("key", "changes"), NEEDS)
@pytest.mark.parametrize("kind", ["dead", "absent"])
def test_weights_that_cannot_be_downloaded_are_one_fault_everywhere(
    key: str, changes: dict[str, Any], kind: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = (
        publisher.publish("absent/net.pth") if kind == "absent" else WeightFile("http://127.0.0.1:9/net.pth", "12")
    )
    publish(monkeypatch, weights)
    write_params(changes)
    message = manifest_error()
    assert message.startswith("net.pth is missing and cannot be downloaded (")
    assert message.endswith(weights.instructions)
    assert doctor_line(key) == f"FAULT {key}: {message}"


@pytest.mark.parametrize(("key", "name", "changes"), PATHS)
def test_a_file_that_does_not_exist_is_one_fault_everywhere(key: str, name: str, changes: dict[str, Any]) -> None:
    write_params(changes)
    message = manifest_error()
    assert message.startswith(f"{key}: {name} does not exist; ")
    assert doctor_line(key) == f"FAULT {message}"


@pytest.mark.parametrize(("key", "changes"), NEEDS)
def test_weights_are_fetched_by_the_manifest_and_not_by_doctor(
    key: str, changes: dict[str, Any], publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = publisher.publish("whole/net.pth")
    publish(monkeypatch, weights)
    write_params(changes)
    assert doctor_line(key) == f"note  {key}: {weights.missing_message()}"
    assert not weights.path.exists()
    fetch_weights([make_clip("a", modalities="visual"), make_clip("b", modalities="acoustic")])
    assert weights.path.read_bytes() == CONTENT
    assert doctor_line(key) == f"ok    {key}: {weights.path} exists"


def test_weights_of_ablation_rows_are_needed_too(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = publisher.publish("whole/net.pth")
    publish(monkeypatch, weights)
    row = {"faces": {"detector": "yunet"}, "embed_mels": {"weights": "no.pth"}}
    write_params({"ablations": {"other": row}})
    assert doctor_line("ablations.other.faces.weights").startswith("note ")
    message = manifest_error()
    assert message.startswith("ablations.other.embed_mels.weights: no.pth does not exist; ")
    assert doctor_line("ablations.other.embed_mels.weights") == f"FAULT {message}"
    assert weights.path.read_bytes() == CONTENT  # the detector's came first


def test_a_damaged_file_is_one_fault_everywhere(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = publisher.publish("whole/net.pth")
    publish(monkeypatch, weights)
    write_params({"faces": {"detector": "yunet"}})
    weights.path.parent.mkdir(parents=True)
    weights.path.write_bytes(CONTENT[:-1])
    message = manifest_error()
    assert message.startswith(f"{weights.path} is not the published net.pth: ")
    assert doctor_line("faces.weights") == f"FAULT faces.weights: {message}"


@pytest.mark.parametrize(("modality", "unused"), [("acoustic", NEEDS[:3]), ("visual", NEEDS[3:])])
def test_a_corpus_of_one_modality_needs_no_weights_of_the_other(
    modality: str, unused: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, WeightFile(DEAD, ""))
    for _, changes in unused:
        write_params(changes)
        fetch_weights([make_clip("a", modalities=modality)])
    assert not (cache_folder() / "weights").exists()


def test_doctor_asks_no_visual_weights_of_a_corpus_without_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, WeightFile(DEAD, ""))
    Path("media").mkdir()
    Path("media/a.wav").write_bytes(b"RIFF" * 300)
    Path("media/clips.csv").write_text("path,emotion,speaker\na.wav,anger,s\n")
    write_params({"faces": {"detector": "yunet"}, "embed_faces": {"weights": "imagenet"}}, root="media")
    output = CliRunner().invoke(app, ["doctor"]).output
    assert "corpora.sample: 1 clip of 1 speaker" in output
    assert "net.pth" not in output


@pytest.mark.parametrize("detector", ["cascade", "precomputed", "my_detector:build"])
def test_parts_without_published_weights_need_no_network(detector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, WeightFile(DEAD, ""))
    monkeypatch.setattr("pipeline.weights.published.backbone_files", lambda: pytest.fail("torchvision was imported"))
    write_params({"faces": {"detector": detector}})
    fetch_weights([make_clip("a", modalities="visual+acoustic")])
