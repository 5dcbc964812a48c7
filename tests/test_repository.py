"""The house keeps its rules: stages name all they depend on, rooms stay apart, words match the code."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from pydantic import BaseModel
from ruamel.yaml import YAML

from pipeline.doctor import MODELS
from pipeline.params import SECTIONS, read_params, read_section
from pipeline.provenance import PROJECT, ROOT, source_files


def stages() -> dict[str, dict[str, Any]]:
    loaded = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    return {name: stage.get("do", stage) for name, stage in loaded.items()}


def sources(module: str) -> set[str]:
    """Return what the module runs: files with nothing but a docstring shape nothing."""
    files = {path.relative_to(ROOT) for path in source_files(module).values()}
    return {path.as_posix() for path in files if len(ast.parse((ROOT / path).read_text()).body) > 1}


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_stage_names_every_project_file_that_it_runs(name: str) -> None:
    stage = stages()[name]
    module = stage["cmd"].split()[2]
    named = {path for path in stage["deps"] if path.endswith(".py")}
    assert named == sources(module), f"dvc.yaml, {name}: deps should be\n" + "\n".join(sorted(sources(module)))


def test_dvc_runs_stages_in_its_own_environment_without_activation(tmp_path: Path) -> None:
    if Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("this environment is not the one that make makes")
    dvc = Path(sys.prefix) / "bin/dvc"
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    (tmp_path / "dvc.yaml").write_text("stages: {where: {cmd: 'python -c \"import sys; print(sys.prefix)\"'}}")
    subprocess.run([dvc, "init", "--no-scm", "--quiet"], cwd=tmp_path, env=bare, check=True)
    result = subprocess.run([dvc, "repro"], cwd=tmp_path, env=bare, capture_output=True, text=True, check=True)
    assert sys.prefix in result.stdout.splitlines()


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_stage_tracks_every_section_that_it_reads_and_never_how_to_run(name: str) -> None:
    stage = stages()[name]
    tracked = {section.partition(".")[0] for section in stage.get("params", [])}
    read = set()
    for path in sources(stage["cmd"].split()[2]):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "read_section":
                (section, *_) = node.args
                word = stage["cmd"].split()[-1]
                read.add(section.value if isinstance(section, ast.Constant) else f"embed_{word}")
    assert "run" not in tracked
    if name == "report":  # it shows the whole file, but for how to run
        read = set(SECTIONS)
    assert tracked == read - {"run"}


def test_rooms_of_science_never_import_one_another() -> None:
    rooms = ("faces", "spectrograms", "backbones", "heads", "losses")
    for room in rooms:
        others = {ROOT / f"pipeline/{other}.py" for other in rooms if other != room}
        assert not others & set(source_files(f"pipeline.{room}").values())


def test_what_computes_a_clip_does_not_hang_on_how_it_is_kept_and_spread() -> None:
    plumbing = {ROOT / f"pipeline/{name}.py" for name in ("memo", "parallel", "extraction", "store")}
    for module in ("faces", "spectrograms", "embedding", "media"):
        assert not plumbing & set(source_files(f"pipeline.{module}").values())


def test_extraction_never_sees_a_label_and_training_never_sees_media() -> None:
    for stage in ("train", "evaluate", "ablate", "report"):
        assert not {"pipeline/media.py", "pipeline/faces.py", "pipeline/spectrograms.py"} & sources(f"stages.{stage}")


def test_every_section_of_the_parameters_is_valid_and_complete() -> None:
    assert set(read_params(ROOT / "params.yaml")) == set(SECTIONS) == set(MODELS)
    for name, model in MODELS.items():
        section = read_section(name, model, path=ROOT / "params.yaml")
        if isinstance(section, BaseModel):  # every key is shown to whoever opens the file
            assert section.model_fields_set == set(type(section).model_fields)


def test_stage_scripts_are_thin_and_files_readable() -> None:
    lengths = {
        path: len(path.read_text().splitlines())
        for folder in (*PROJECT, "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert not {path for path, length in lengths.items() if length > (60 if path.parent.name == "stages" else 320)}


def test_the_library_logs_and_never_prints() -> None:
    for path in (ROOT / "pipeline").rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"], path


def test_the_pinned_torch_and_torchvision_fit_together() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert torch.__version__.startswith(pins["torch"])
    assert torchvision.__version__.startswith(pins["torchvision"])
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]


def test_the_table_of_stages_in_the_readme_is_that_of_dvc() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in stages():
        assert f"`{name}`" in readme, f"README.md does not mention the stage {name}"
    assert Path(ROOT / "docs/images/faces.png").is_file()
