"""The layout keeps its promises: stages depend on the rooms that they use, and rooms use what others offer."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from pydantic import BaseModel
from ruamel.yaml import YAML

from pipeline.base.params import SECTIONS, read_params, read_section
from pipeline.base.provenance import PROJECT, ROOT, source_files
from pipeline.cli.sections import MODELS


def stages() -> dict[str, dict[str, Any]]:
    loaded = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    return {name: stage.get("do", stage) for name, stage in loaded.items()}


def sources(module: str) -> set[str]:
    """Return what the module runs: files with nothing but a docstring shape nothing."""
    files = {path.relative_to(ROOT) for path in source_files(module).values()}
    return {path.as_posix() for path in files if len(ast.parse((ROOT / path).read_text()).body) > 1}


def room(path: str) -> str:
    """Return the folder of a file in a room; a stage's script is no room, and stands for itself."""
    parts = path.split("/")
    return path if parts[0] == "stages" else "/".join(parts[:2])


def calls(path: str, function: str) -> list[ast.Call]:
    """Return the calls of a function of that name in a file."""
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    return [it for it in nodes if isinstance(it, ast.Call) and isinstance(it.func, ast.Name) and it.func.id == function]


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_stage_depends_on_every_room_that_it_uses_and_on_no_other(name: str) -> None:
    stage = stages()[name]
    used = sources(stage["cmd"].split()[2])
    wanted = {room(path) for path in used} | {"plugins" for path in used if calls(path, "lookup")}
    dependencies = {path for path in stage["deps"] if path.split("/")[0] in (*PROJECT, "plugins")}
    assert dependencies == wanted, f"dvc.yaml, {name}: deps should be\n" + "\n".join(sorted(wanted))


@pytest.mark.slow
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
        for call in calls(path, "read_section"):
            word = stage["cmd"].split()[-1]
            section = call.args[0]
            read.add(section.value if isinstance(section, ast.Constant) else f"embed_{word}")
    assert "run" not in tracked
    if name == "report":  # it shows the whole file, but for how to run
        read = set(SECTIONS)
    assert tracked == read - {"run"}


ROOMS = sorted(path.parent for top in ("data_manifest", "pipeline") for path in (ROOT / top).glob("*/__init__.py"))


def offered(folder: Path) -> set[str]:
    """Return the modules that a room's `__all__` offers to other rooms."""
    return set(getattr(importlib.import_module(f"{folder.parent.name}.{folder.name}"), "__all__", ()))


def test_rooms_use_only_what_other_rooms_offer() -> None:
    for path in [path for top in (*PROJECT, "benchmarks", "docs", "examples") for path in (ROOT / top).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [f"{node.module}.{it.name}" for it in node.names] if isinstance(node, ast.ImportFrom) else []
            for folder in ROOMS:
                inside = [
                    name.split(".")[2] for name in names if name.startswith(f"{folder.parent.name}.{folder.name}.")
                ]
                if inside and folder not in path.parents:
                    modules = {name for name in inside if (folder / f"{name}.py").is_file()}
                    assert modules <= offered(folder), f"{path} uses {modules} of {folder}"


def test_a_room_says_what_it_is_for_and_hides_the_rest_behind_an_underscore() -> None:
    for folder in ROOMS:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder
        if folder.name not in ("cli", "sample"):  # of the commands only the sections; the sample is one function
            assert offered(folder) == {path.stem for path in folder.glob("[!_]*.py")}, folder


def test_every_room_has_its_floor() -> None:
    layers = re.findall(r"(?:data_manifest|pipeline)\.\w+", (ROOT / "setup.cfg").read_text().partition("layers =")[2])
    assert sorted(layers) == sorted(f"{folder.parent.name}.{folder.name}" for folder in ROOMS)


def test_what_computes_a_clip_does_not_depend_on_how_it_is_kept_and_spread() -> None:
    plumbing = {"pipeline/memo/extraction.py", "pipeline/parallel/pool.py", "pipeline/store/reader.py"}
    for function in ("faces.crops", "spectrograms.windows", "embeddings.tokens", "media.probe"):
        assert not plumbing & sources(f"pipeline.{function}")


def test_training_never_sees_media() -> None:
    for stage in ("train", "evaluate", "ablate", "report"):
        rooms = {room(path) for path in sources(f"stages.{stage}")}
        assert not {"pipeline/media", "pipeline/faces", "pipeline/spectrograms"} & rooms


def test_every_section_of_the_parameters_is_valid_and_complete() -> None:
    assert set(read_params(ROOT / "params.yaml")) == set(SECTIONS) == set(MODELS)
    for name, model in MODELS.items():
        section = read_section(name, model, path=ROOT / "params.yaml")
        if isinstance(section, BaseModel):  # every key is shown to whoever opens the file
            assert section.model_fields_set == set(type(section).model_fields) - {"options"}  # of plugins


def test_stage_scripts_are_thin_and_files_readable() -> None:
    lengths = {
        path: len(path.read_text().splitlines())
        for folder in (*PROJECT, "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert not {path for path, length in lengths.items() if length > (50 if path.parent.name == "stages" else 320)}


def test_the_library_logs_and_never_prints() -> None:
    assert not [path for path in (ROOT / "pipeline").rglob("*.py") if calls(path.relative_to(ROOT).as_posix(), "print")]


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
