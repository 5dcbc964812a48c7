"""The documentation is true: what it tells to type is executed, what it says of files and modules is compared."""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from snippets import PROGRAMS, Snippet, changes_parameters, read_snippets
from typer.testing import CliRunner
from workspace import Workspace, ran

from data_manifest.manifest.clips import Clip, read_rows
from examples.detector import build
from examples.head import GatedHead
from pipeline.ablation.table import override
from pipeline.base.params import read_section
from pipeline.base.provenance import ROOT
from pipeline.cli.doctor import MODELS
from pipeline.cli.main import app
from pipeline.faces.contract import Boxes, DetectorConfig, Frames
from pipeline.heads.contract import HeadConfig, Shapes
from pipeline.report._paper_results import PAPER_RESULTS
from pipeline.store.reader import Reader
from pipeline.store.tokens import Tokens
from pipeline.training.runs import read_recipe

# What is not typed in the workspace, and why. A command is one of these, or begins with one of these.
NOT_RUN = {
    "make": "CI runs repro, check and test; bench takes half an hour",
    "source": "the environment of the tests is the one that it would enter",
    "dask scheduler": "does not end; tests/test_processes.py starts one",
    "dask worker": "does not end; tests/test_processes.py starts some",
    "pip download": "fetches gigabytes from the package index",
    "PIP_NO_INDEX=1": "makes the environment anew",
    "fdan weights fetch": "needs a network; tests/test_weights.py serves files of its own",
    "dvc exp run -S head.dropout=0.5": "tests/test_end_to_end.py runs this very one",
}
MENTIONED = {
    "fdan predict",
    "fdan configure",
    "fdan configure --add",
    "fdan configure NAME --root FOLDER --add",
}  # in passing
NOT_IMPORTED = {
    "dask_jobqueue": "needs a SLURM cluster",
    "dask_kubernetes": "needs a Kubernetes cluster",
}
MADE_UP = "/data/"  # where the documentation's corpora lie
STAGES = {
    "faces": ["faces"],
    "spectrograms": ["spectrograms"],
    "embed_faces": ["embed", "faces"],
    "embed_mels": ["embed", "mels"],
}
FILES = {
    "faces": "faces.h5",
    "spectrograms": "spectrograms.h5",
    "embed_faces": "embeddings/visual.h5",
    "embed_mels": "embeddings/acoustic.h5",
}
OUTPUTS = (
    "params.yaml",
    "dvc.lock",
    "data/corpora",
    "data/embeddings",
    "data/faces.h5",
    "data/spectrograms.h5",
    "data/manifest.csv",
    "data/exclusions.csv",
    "models",
    "results",
)
EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")  # as RAVDESS counts them
ROWS = ("full", "concat", "official")  # of the ablations: those that the pages name
SNIPPETS = read_snippets()


def of_kind(kind: str) -> list[Any]:
    """Return the snippets of a kind as a test's parameters."""
    return [pytest.param(it, id=f"{it.page}:{it.line}") for it in SNIPPETS if it.kind == kind and not it.file]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace in which everything has been built, with the rows and the files that the pages name."""
    workspace = Workspace(tmp_path_factory.mktemp("documented"), scheduler="synchronous")
    table = YAML(typ="safe").load(ROOT / "params.yaml")["ablations"]
    workspace.change({"ablations": {row: table[row] for row in ROWS}})
    for snippet in SNIPPETS:
        if snippet.file:
            (workspace.folder / snippet.file).write_text(snippet.text)
    (workspace.folder / "my_package").mkdir(exist_ok=True)
    shutil.copy(ROOT / "examples/detector.py", workspace.folder / "my_package/my_module.py")  # what the README names
    ran(workspace.run("dvc", "repro"))
    path = sys.path.copy()
    sys.path.append(str(workspace.folder))
    yield workspace
    sys.path[:] = path


@pytest.fixture(scope="module")
def kept(built: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all that was built."""
    folder = tmp_path_factory.mktemp("kept")
    copy_outputs(built.folder, folder)
    return folder


def copy_outputs(source: Path, target: Path) -> None:
    for name in OUTPUTS:
        if (source / name).is_dir():
            shutil.rmtree(target / name, ignore_errors=True)
            shutil.copytree(source / name, target / name)
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


@pytest.fixture
def workspace(built: Workspace, kept: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The built workspace as the current folder, put back in order afterwards."""
    monkeypatch.chdir(built.folder)
    monkeypatch.setenv("FDAN_CACHE", str(built.folder / ".memo"))
    yield built
    copy_outputs(kept, built.folder)


@pytest.fixture(scope="module")
def corpora(built: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for `/data`: clips of the sample under the names of the corpora in the documentation."""
    folder = tmp_path_factory.mktemp("data")
    rows = ["path,emotion,speaker"]
    for clip in sorted((built.folder / "data/sample").glob("*/*.mp4")):
        speaker, emotion, number = clip.stem.split("_")
        trial = f"01-01-{EMOTIONS.index(emotion) + 1:02}-01-01-01-{speaker[1:]}"
        for place in (
            f"RAVDESS/Actor_{speaker[1:]}/{trial}.mp4",
            f"my-corpus/{emotion}/{speaker}_{number}.mp4",
            f"my-table/{clip.name}",
            f"my-takes/{speaker}-{emotion}-{number}.mp4",
        ):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, folder / place)
        rows.append(f"{clip.name},{emotion},{speaker}")
    (folder / "my-table/clips.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("snippet", of_kind("shell"))
def test_a_command_does_what_it_is_there_for(snippet: Snippet, workspace: Workspace, corpora: Path) -> None:
    for command in snippet.commands:
        if command in MENTIONED or any(f"{command} ".startswith(f"{name} ") for name in NOT_RUN):
            continue
        if command == "dvc repro" and changes_parameters(snippet.commands):  # the rest would need published weights
            command = "dvc repro manifest"
        status, output = enter(command.replace(MADE_UP, f"{corpora}/"), workspace)
        assert status == 0, f"{command}\n{output}"


def enter(command: str, workspace: Workspace) -> tuple[int, str]:
    """Return the exit status of a command, and what it writes; our own runs here, which saves it its imports."""
    program, *arguments = shlex.split(command)
    if program == "fdan":
        told = CliRunner().invoke(app, arguments)
        return told.exit_code, f"{told.output}{told.exception or ''}"
    result = workspace.run("bash", "-euc", command)
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("snippet", of_kind("python"))
def test_a_piece_of_python_runs(snippet: Snippet, workspace: Workspace) -> None:
    code = compile(snippet.text, f"{snippet.page}:{snippet.line}", "exec")
    if not any(f"from {name}" in snippet.text for name in NOT_IMPORTED):
        exec(code, {"__name__": "snippet"})


@pytest.mark.parametrize("snippet", of_kind("yaml"))
def test_parameters_are_valid_and_what_they_name_is_used(
    snippet: Snippet, workspace: Workspace, corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = YAML(typ="safe").load(snippet.text.replace(MADE_UP, f"{corpora}/"))
    with workspace.changed(sections):
        for name in sections:
            read_section(name, MODELS[name])
        for name, section in sections.items():
            references = [value for value in section.values() if re.fullmatch(r"[\w.]+:\w+", str(value))]
            if name == "corpora":
                for corpus in section:
                    run_stage(monkeypatch, "corpus", corpus)
                    assert len(read_rows(Path("data/corpora", corpus, "clips.csv"), Clip)) == 4 * 7
            elif name == "ablations":
                for row, overrides in section.items():
                    override(read_recipe(), overrides, row=row)
            elif references and name in STAGES:
                assert_used(monkeypatch, name, references)
            elif references:
                status, output = enter("fdan ablate --rows full", workspace)
                assert status == 0, output
            assert {reference.partition(":")[0] for reference in references} <= sys.modules.keys()


def assert_used(monkeypatch: pytest.MonkeyPatch, section: str, references: list[str]) -> None:
    """Run the stage of a section, and check that its file is another now and says what made it."""
    path = Path("data") / FILES[section]
    before = Reader(path, schema=None).attributes["fingerprint"]
    run_stage(monkeypatch, *STAGES[section])
    made = Reader[Any](path, schema=None)
    assert set(references) <= set(made.attributes["config"].values())
    assert made.attributes["fingerprint"] != before
    assert made.attributes["failures"] == {}
    assert made.offsets[-1] > 0


def run_stage(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    importlib.import_module(f"stages.{name}").main()


def test_no_exemption_is_left_over_and_no_piece_of_code_is_left_out() -> None:
    typed = [f"{command} " for it in SNIPPETS if it.kind == "shell" for command in it.commands]
    assert {f"{command} " for command in MENTIONED} <= {*typed}
    assert not [name for name in NOT_RUN if not any(command.startswith(f"{name} ") for command in typed)]
    imported = "".join(it.text for it in SNIPPETS if it.kind == "python")
    assert not [name for name in NOT_IMPORTED if f"from {name}" not in imported]
    files = {it.file.removesuffix(".py") for it in SNIPPETS if it.file}
    parameters = "".join(it.text for it in SNIPPETS if it.kind == "yaml")
    assert files == set(re.findall(r": (\w+):\w+$", parameters, re.MULTILINE))
    read = [it for it in SNIPPETS if it.kind == "text"]
    assert not [it for it in read if re.search(rf"^[$ ]*({PROGRAMS}) ", it.text, re.MULTILINE)]


def test_the_detector_of_the_examples_looks_twice_and_gives_boxes_of_the_frame_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sees_faces_on_the_left_only(frames: Frames) -> list[Boxes]:
        box, none = np.array([[2, 5, 8, 11, 0.9]], np.float32), np.empty((0, 5), np.float32)
        return [box if frame[:, :10].mean() > frame[:, 10:].mean() else none for frame in frames]

    monkeypatch.setattr("pipeline.faces.detectors.cascade", lambda config: sees_faces_on_the_left_only)
    frames = np.zeros((3, 16, 20, 3), np.uint8)
    frames[0, :, :10] = frames[1, :, 10:] = 255
    left, right, nowhere = build(DetectorConfig())(frames)
    assert left.tolist() == [[2, 5, 8, 11, pytest.approx(0.9)]]
    assert right.tolist() == [[12, 5, 18, 11, pytest.approx(0.9)]]
    assert nowhere.shape == (0, 5)


def test_the_head_of_the_examples_does_not_look_at_what_is_masked() -> None:
    torch.manual_seed(0)
    head = GatedHead(HeadConfig(width=8), Shapes(6, 5, 3)).eval()
    times, there = torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool)
    seen, heard = Tokens(torch.randn(2, 4, 6), times, there), Tokens(torch.randn(2, 4, 5), times, ~there)
    one, other = head(seen, heard), head(seen, heard._replace(values=torch.randn(2, 4, 5)))
    assert one.fused is not None
    assert torch.equal(one.fused, other.fused)
    assert not torch.allclose(one.fused, head(seen, heard._replace(mask=there)).fused)


SECTION = re.compile(r"^## `(data/[\w/.]+)`\n(.*?)(?=^## )", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("path", "text"), SECTION.findall((ROOT / "docs/hdf5.md").read_text()))
def test_a_file_holds_what_its_page_says(workspace: Workspace, path: str, text: str) -> None:
    told = re.findall(r"^\| `(\w+)` \| ([\w-]+) \| \((.*?)\) \|", text, re.MULTILINE)
    others = ["data/embeddings/acoustic.h5"] if "embeddings" in path else []
    for name in (path, *others):
        with h5py.File(name) as file:
            assert {column: kind_of(file[column]) for column in file} == {column: kind for column, kind, _ in told}
            for column, _, shape in told:
                assert fits(file[column].shape, shape.split(", ")), column
            assert set(file.attrs) == set(re.findall(r"^\| `(\w+)` \| [^|]* \|$", text, re.MULTILINE))
            assert f"The schema is `{file.attrs['schema']}`" in text


def kind_of(dataset: h5py.Dataset) -> str:
    return "utf-8" if h5py.check_string_dtype(dataset.dtype) else str(dataset.dtype)


def fits(shape: tuple[int, ...], told: list[str]) -> bool:
    """Return whether a shape has the axes that the page tells of, those of a fixed size in that size."""
    fixed = [int(axis) if axis.isdecimal() else None for axis in told]
    return len(shape) == len(told) and all(axis in (None, size) for axis, size in zip(fixed, shape, strict=True))


def test_the_page_on_the_architecture_has_a_room_for_each_module_and_stage() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    there = set()
    for room in ("data_manifest", "pipeline"):
        for path in (ROOT / room).iterdir():
            if path.suffix == ".py" and path.stem != "__init__":
                there.add(f"{room}/{path.name}")
            elif (path / "__init__.py").is_file():
                there.add(f"{room}/{path.name}/")
    assert set(re.findall(r"`((?:data_manifest|pipeline)/\w+(?:\.py|/))`", page)) == there
    assert set(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]) <= set(re.findall(r"`(\w+)`", page))


def test_the_page_on_the_method_has_the_figures_of_the_paper_that_the_report_shows() -> None:
    page = (ROOT / "docs/method.md").read_text().partition("| model | SAVEE | MELD |")[2]
    pairs = [(float(war), float(uar)) for war, uar in re.findall(r"(\d+\.\d+) / (\d+\.\d+)", page)]
    assert pairs[::2] == list(PAPER_RESULTS["savee"].values())
    assert pairs[1::2] == list(PAPER_RESULTS["meld"].values())


class Fetched(HTMLParser):
    """What a browser fetches for a page, beside the page itself."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the addresses of scripts, styles and pictures."""
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "link"):
            self.addresses.append(named.get("src") or named.get("href") or "")


def test_the_pages_build_without_a_warning_show_the_figures_and_fetch_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    # Never with --quiet: it hides the warnings from --strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    pages = {path.name: path.read_text() for path in (tmp_path / "site").glob("*.html")}
    assert not [address for html in pages.values() for address in Fetched(html).addresses if "//" in address]
    for figure in json.loads((ROOT / "benchmarks/results.json").read_text())["figures"]:
        value = f"{figure['value']:.2f} {figure['unit']}"
        assert f"<td>{escape(figure['name'], quote=False)}</td>\n<td>{value}</td>" in pages["benchmarks.html"]
