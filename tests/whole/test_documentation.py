"""The documentation is true: its snippets run, and what it says about files and modules is compared with them."""

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
from plugin_workspace import forget_modules
from ruamel.yaml import YAML
from snippets import PROGRAMS, Snippet, changes_parameters, read_snippets
from typer.testing import CliRunner
from workspace import Workspace, executed_stages

import fdan
from data_manifest.manifest.clips import Clip, read_rows
from docs import generate
from docs.graph import read_graph
from pipeline.ablation.table import override
from pipeline.base.params import read_section
from pipeline.base.provenance import ROOT
from pipeline.base.registry import lookup
from pipeline.cli.main import app
from pipeline.cli.sections import MODELS
from pipeline.faces.contract import Boxes, DetectorConfig, Frames
from pipeline.faces.detectors import DETECTORS
from pipeline.heads.contract import HeadConfig, Shapes
from pipeline.heads.table import HEADS
from pipeline.report._anchors import ANCHORS, EMOBOX
from pipeline.report._paper_results import PAPER_RESULTS
from pipeline.store.reader import Reader
from pipeline.store.tokens import Tokens
from pipeline.training.runs import read_recipe
from pipeline.variants.rows import check_sections
from pipeline.variants.settings import override_settings, read_settings

pytestmark = pytest.mark.slow

# Commands that are not run in the workspace, and why. A command equals one of these or begins with it.
NOT_RUN = {
    "git clone": "needs a server; the workspace is a copy",
    "make": "CI runs repro, check and test; bench takes an hour",
    "source": "the tests run in that environment",
    "dask scheduler": "does not end; tests/parallel/test_processes.py starts one",
    "dask worker": "does not end; tests/parallel/test_processes.py starts some",
    "pip download": "downloads gigabytes from the package index",
    "PIP_NO_INDEX=1": "makes the environment again",
    "fdan weights fetch": "needs a network; tests/weights/test_weights.py has its own server",
    "pytest": "the suite runs these tests",
    "python -m benchmarks": "takes minutes",
    "python -m benchmarks.inference": "takes five minutes; tests/evaluation/test_inference.py simulates less",
    "python -m benchmarks.head": "needs tokens of a published corpus; tests/training/test_token_folder.py has its own",
    "python -m benchmarks.head_choice": "takes an hour; tests/ablation/test_head_choice.py has its own scores",
    "dvc exp run -S head.dropout=0.5": "tests/whole/test_end_to_end.py runs it",
}
MENTIONED = {
    "fdan predict",
    "fdan new",
    "fdan check",
    "fdan configure",
    "fdan configure NAME --root FOLDER --add",
    "fdan configure … --follow-links",
    "dvc repro --force corpus@NAME",
    "dvc exp run --temp",
}  # named in the text, not meant to be typed
NOT_IMPORTED = {
    "dask_jobqueue": "needs a SLURM cluster",
    "dask_kubernetes": "needs a Kubernetes cluster",
}
DATA = "/data/"  # the folder of the corpora in the documentation
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
    "data/variants",
    "data/manifest.csv",
    "data/exclusions.csv",
    "models",
    "results",
)
EMOTIONS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")  # RAVDESS's codes 1 to 8
ROWS = ("full", "concat", "official")  # the ablations that the pages name
SNIPPETS = read_snippets()


NEW_PLUGINS = sorted(
    {tuple(it.split()) for snippet in SNIPPETS for it in snippet.commands if it.startswith("fdan new ")}
)


def of_kind(kind: str) -> list[Any]:
    """Return the snippets of a kind as a test's parameters."""
    return [pytest.param(it, id=f"{it.page}:{it.line}") for it in SNIPPETS if it.kind == kind and not it.file]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A built workspace with the ablations and the plugins that the pages name."""
    path = sys.path.copy()
    workspace = Workspace(tmp_path_factory.mktemp("documented"), scheduler="synchronous")
    table = YAML(typ="safe").load(ROOT / "params.yaml")["ablations"]
    workspace.change_params({"ablations": {row: table[row] for row in ROWS}})
    for snippet in SNIPPETS:
        if snippet.file:
            (workspace.folder / "plugins" / Path(snippet.file).name).write_text(snippet.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace.folder)
        for words in NEW_PLUGINS:
            assert enter(" ".join(words), workspace)[0] == 0
    (workspace.folder / "plugins/my_package").mkdir()
    shutil.copy(ROOT / "plugins/mirrored.py", workspace.folder / "plugins/my_package/my_module.py")  # as in the README
    executed_stages(workspace.run("dvc", "repro"))
    sys.path.append(str(workspace.folder))
    yield workspace
    sys.path[:] = path
    forget_modules(workspace.folder)


@pytest.fixture(scope="module")
def kept(built: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of everything that was built."""
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
    """The built workspace as the current folder, restored afterwards."""
    monkeypatch.chdir(built.folder)
    monkeypatch.setenv("FDAN_CACHE", str(built.folder / ".memo"))
    yield built
    copy_outputs(kept, built.folder)


@pytest.fixture(scope="module")
def corpora(built: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that replaces `/data`: clips of the sample, named like the corpora in the documentation."""
    folder = tmp_path_factory.mktemp("data")
    rows = ["path,emotion,speaker"]
    for clip in sorted((built.folder / "data/sample").glob("*/*.mp4")):
        speaker, emotion, number = clip.stem.split("_")
        trial = f"01-01-{EMOTIONS.index(emotion) + 1:02}-01-01-01-{speaker[1:]}"
        for path in (
            f"RAVDESS/Actor_{speaker[1:]}/{trial}.mp4",
            f"my-corpus/{emotion}/{speaker}_{number}.mp4",
            f"my-table/{clip.name}",
            f"my-takes/{speaker}-{emotion}-{number}.mp4",
        ):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, folder / path)
        rows.append(f"{clip.name},{emotion},{speaker}")
    (folder / "my-table/clips.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("snippet", of_kind("shell"))
def test_command_succeeds(snippet: Snippet, workspace: Workspace, corpora: Path) -> None:
    for command in snippet.commands:
        if tuple(command.split()) in NEW_PLUGINS:  # ran when the workspace was built
            continue
        if command in MENTIONED or any(f"{command} ".startswith(f"{name} ") for name in NOT_RUN):
            continue
        if command == "dvc repro" and changes_parameters(snippet.commands):  # the other stages take minutes
            command = "dvc repro manifest"
        status, output = enter(command.replace(DATA, f"{corpora}/"), workspace)
        assert status == 0, f"{command}\n{output}"
        if command.startswith("fdan configure"):  # published weights may need a network
            workspace.change_params({section: {"weights": "random"} for section in ("embed_faces", "embed_mels")})


def enter(command: str, workspace: Workspace) -> tuple[int, str]:
    """Return the exit status and the output of a command; `fdan` runs in this process, which saves its imports."""
    program, *arguments = shlex.split(command)
    if program == "fdan":
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, f"{result.output}{result.exception or ''}"
    process = workspace.run("bash", "-euc", command)
    return process.returncode, process.stdout + process.stderr


@pytest.mark.parametrize("snippet", of_kind("python"))
def test_python_snippet_runs(snippet: Snippet, workspace: Workspace) -> None:
    code = compile(snippet.text, f"{snippet.page}:{snippet.line}", "exec")
    if not any(f"from {name}" in snippet.text for name in NOT_IMPORTED):
        exec(code, {"__name__": "snippet"})


@pytest.mark.parametrize("snippet", of_kind("yaml"))
def test_parameters_are_valid_and_the_named_functions_are_used(
    snippet: Snippet, workspace: Workspace, corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = YAML(typ="safe").load(snippet.text.replace(DATA, f"{corpora}/"))
    with workspace.changed_params(sections):
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
                    check_sections(overrides, where=row)
                    override(read_recipe(), overrides, row=row)
                    override_settings(read_settings(), overrides, row=row)
            elif references and name in STAGES:
                assert_used(monkeypatch, name, references)
            elif references:
                status, output = enter("fdan ablate --rows full", workspace)
                assert status == 0, output
            assert {reference.partition(":")[0] for reference in references} <= sys.modules.keys()


def assert_used(monkeypatch: pytest.MonkeyPatch, section: str, references: list[str]) -> None:
    """Run the stage of a section, and check that its file has changed and names the functions that made it."""
    path = Path("data") / FILES[section]
    before = Reader(path, schema=None).attributes["fingerprint"]
    run_stage(monkeypatch, *STAGES[section])
    after = Reader[Any](path, schema=None)
    assert all(it in after.attributes["config"].values() for it in references)
    assert after.attributes["fingerprint"] != before
    assert after.attributes["failures"] == {}
    assert after.offsets[-1] > 0


def run_stage(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    importlib.import_module(f"stages.{name}").main()


def test_every_exemption_is_needed_and_every_plugin_is_named_in_parameters() -> None:
    typed = [f"{command} " for it in SNIPPETS if it.kind == "shell" for command in it.commands]
    assert {f"{command} " for command in MENTIONED} <= {*typed}
    assert not [name for name in NOT_RUN if not any(command.startswith(f"{name} ") for command in typed)]
    imported = "".join(it.text for it in SNIPPETS if it.kind == "python")
    assert not [name for name in NOT_IMPORTED if f"from {name}" not in imported]
    files = {it.file.removesuffix(".py") for it in SNIPPETS if it.file} | {name for *_, name in NEW_PLUGINS}
    parameters = "".join(it.text for it in SNIPPETS if it.kind == "yaml")
    assert files == set(re.findall(r": (\w+):\w+$", parameters, re.MULTILINE))
    texts = [it for it in SNIPPETS if it.kind == "text"]
    assert not [it for it in texts if re.search(rf"^[$ ]*({PROGRAMS}) ", it.text, re.MULTILINE)]


def test_mirrored_detector_returns_boxes_in_the_coordinates_of_the_original_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def detect_on_the_left_only(frames: Frames) -> list[Boxes]:
        box, none = np.array([[2, 5, 8, 11, 0.9]], np.float32), np.empty((0, 5), np.float32)
        return [box if frame[:, :10].mean() > frame[:, 10:].mean() else none for frame in frames]

    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(DETECTORS, "cascade", lambda config: detect_on_the_left_only)
    frames = np.zeros((3, 16, 20, 3), np.uint8)
    frames[0, :, :10] = frames[1, :, 10:] = 255
    left, right, nowhere = lookup(DETECTORS, "mirrored:build", "detector")(DetectorConfig())(frames)
    assert left.tolist() == [[2, 5, 8, 11, pytest.approx(0.9)]]
    assert right.tolist() == [[12, 5, 18, 11, pytest.approx(0.9)]]
    assert nowhere.shape == (0, 5)


def test_gated_head_ignores_masked_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    torch.manual_seed(0)
    head = lookup(HEADS, "gated:GatedHead", "head")(HeadConfig(width=8), Shapes(6, 5, 3)).eval()
    times, mask = torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool)
    visual, acoustic = Tokens(torch.randn(2, 4, 6), times, mask), Tokens(torch.randn(2, 4, 5), times, ~mask)
    one, other = head(visual, acoustic), head(visual, acoustic._replace(values=torch.randn(2, 4, 5)))
    assert one.fused is not None
    assert torch.equal(one.fused, other.fused)
    assert not torch.allclose(one.fused, head(visual, acoustic._replace(mask=mask)).fused)


DOCS = sorted((ROOT / "docs").glob("*.md"))
SECTION = re.compile(r"^## `(data/[\w/.]+)`\n(.*?)(?=^## )", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("path", "text"), SECTION.findall((ROOT / "docs/hdf5.md").read_text()))
def test_hdf5_file_has_the_datasets_and_attributes_of_its_page(workspace: Workspace, path: str, text: str) -> None:
    columns = re.findall(r"^\| `(\w+)` \| ([\w-]+) \| \((.*?)\) \|", text, re.MULTILINE)
    others = ["data/embeddings/acoustic.h5"] if "embeddings" in path else []
    for name in (path, *others):
        with h5py.File(name) as file:
            assert {column: kind_of(file[column]) for column in file} == {column: kind for column, kind, _ in columns}
            for column, _, shape in columns:
                assert fits(file[column].shape, shape.split(", ")), column
            assert set(file.attrs) == set(re.findall(r"^\| `(\w+)` \| [^|]* \|$", text, re.MULTILINE))
            assert f"The schema is `{file.attrs['schema'].decode()}`" in text


def kind_of(dataset: h5py.Dataset) -> str:
    return "utf-8" if h5py.check_string_dtype(dataset.dtype) else str(dataset.dtype)


def fits(shape: tuple[int, ...], axes: list[str]) -> bool:
    """Return whether a shape has these axes; an axis that is a number has that size."""
    fixed = [int(axis) if axis.isdecimal() else None for axis in axes]
    return len(shape) == len(axes) and all(axis in (None, size) for axis, size in zip(fixed, shape, strict=True))


def test_architecture_page_names_every_room_and_stage() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    inits = [path for top in ("data_manifest", "pipeline") for path in (ROOT / top).glob("*/__init__.py")]
    rooms = {path.parent.relative_to(ROOT).as_posix() for path in inits}
    assert rooms <= set(re.findall(r"^\| \d \| `([\w/]+)/` \|", page, re.MULTILINE))
    assert set(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]) <= set(re.findall(r"`(\w+)`", page))


def test_generated_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    generate.main()


def test_stale_generated_page_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    monkeypatch.setattr(generate, "parameters", lambda: "# Other parameters\n")
    with pytest.raises(SystemExit, match=r"error: stale: docs/parameters\.md; run: python -m docs\.generate"):
        generate.main()


def test_graph_has_only_direct_edges() -> None:
    graph = read_graph(ROOT / "dvc.yaml")
    assert graph["render"] == {"corpus"}
    assert graph["manifest"] == {"faces", "spectrograms"}
    assert graph["embed_faces"] == graph["embed_mels"] == {"train", "ablate"}
    assert graph["faces"] == {"embed_faces", "variants"}
    assert graph["variants"] == {"ablate"}
    assert graph["report"] == set()


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", *(f"docs/{it.name}" for it in DOCS)])
def test_relative_links_and_images_exist(path: str) -> None:
    page = ROOT / path
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)  # code has no links
    targets = re.findall(r"\]\(([^)\s#]+)", text) + re.findall(r'(?:src|href)="([^"#]+)', text)
    missing = [it for it in targets if not re.match(r"\w+:", it) and not (page.parent / it).exists()]
    assert not missing, f"{path} links to files that do not exist: {', '.join(missing)}"


def test_api_page_lists_every_public_name() -> None:
    page = (ROOT / "docs/api.md").read_text()
    assert sorted(re.findall(r"^::: fdan\.(\w+)$", page, re.MULTILINE)) == sorted(fdan.__all__)


def test_method_page_has_the_results_of_the_paper_that_the_report_shows() -> None:
    page = (ROOT / "docs/method.md").read_text().partition("| model | SAVEE | MELD |")[2]
    pairs = [(float(war), float(uar)) for war, uar in re.findall(r"(\d+\.\d+) / (\d+\.\d+)", page)]
    assert pairs[::2] == list(PAPER_RESULTS["savee"].values())
    assert pairs[1::2] == list(PAPER_RESULTS["meld"].values())


def test_evaluation_page_has_the_published_results_that_the_report_shows() -> None:
    page = (ROOT / "docs/evaluation.md").read_text()
    rows = re.findall(r"^\| ([\w .]+) \| (\d+\.\d) \| (\d+\.\d) \|$", page, re.MULTILINE)
    shown = zip(ANCHORS["ravdess", "ravdess_6"].items(), ANCHORS["savee", "each_speaker"].values(), strict=True)
    assert [(name, float(one), float(other)) for name, one, other in rows] == [(*row, uar) for row, uar in shown]
    assert EMOBOX in page


class Resources(HTMLParser):
    """The addresses that a browser loads for a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the addresses of scripts, styles and images."""
        named = dict(attrs)
        if tag in ("script", "img", "iframe", "link"):
            self.addresses.append(named.get("src") or named.get("href") or "")


def test_pages_build_without_warnings_and_fetch_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    # Never with --quiet: it hides the warnings from --strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    pages = {path.name: path.read_text() for path in (tmp_path / "site").glob("*.html")}
    assert not [address for html in pages.values() for address in Resources(html).addresses if "//" in address]
    # The theme loads a script from the network to draw Mermaid.
    assert not [name for name, html in pages.items() if re.search(r'class="[^"]*\bmermaid\b', html)]
    for figure in json.loads((ROOT / "benchmarks/results.json").read_text())["figures"]:
        value = f"{figure['value']:.2f} {figure['unit']}"
        assert f"<td>{escape(figure['name'], quote=False)}</td>\n<td>{value}</td>" in pages["benchmarks.html"]
        assert f"Measured on {figure['machine']}:" in pages["benchmarks.html"]
