"""Embeddings of rows: each file is extracted once, through the memo, and the reference's files are used as they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import assert_one_line
from typer.testing import CliRunner
from variants_project import OWN_FACES, Project

from data_manifest.manifest.clips import MANIFEST, Clip, read_rows
from pipeline.base.errors import StoreError
from pipeline.base.provenance import code_version
from pipeline.cli.main import app
from pipeline.evaluation.ablation_schemas import Ablation
from pipeline.store.reader import Reader
from pipeline.training.corpus import STANDARD
from pipeline.variants.index import INDEX, read_index
from pipeline.variants.rows import read_ablations
from pipeline.variants.settings import missing_weights, override_settings, read_settings

pytestmark = pytest.mark.slow
ROWS: dict[str, Any] = {
    "full": {},
    "own faces": {"faces": {"detector": "own_faces:build", "frames_per_clip": 2}},
    "own faces, narrow": {"faces": {"detector": "own_faces:build", "frames_per_clip": 2}, "head": {"width": 8}},
    "no overlap": {"spectrograms": {"overlap": 0}},
    "grid": {"embed_faces": {"tokens": "grid", "grid": 2}},
    "as before": {"faces": {"detector": "cascade"}},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose stages up to the embeddings have run."""
    folder = tmp_path_factory.mktemp("variants")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FDAN_CACHE", str(folder / ".memo"))
        made = Project(folder)
        (folder / "plugins").mkdir()
        (folder / "plugins/own_faces.py").write_text(OWN_FACES)
        made.write(ablations={"full": {}})
        for stage in ("render sample", "corpus sample", "manifest", "faces", "spectrograms"):
            made.stage(*stage.split())
        for source in ("faces", "mels"):
            made.stage("embed", source)
        yield made


@pytest.fixture
def project(built: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project as the current folder."""
    monkeypatch.chdir(built.folder)
    monkeypatch.setenv("FDAN_CACHE", str(built.folder / ".memo"))
    return built


def variant_files() -> dict[str, int]:
    """Return the number of files of each kind that the stage has written."""
    folders = [path for path in Path("data/variants").iterdir() if path.is_dir()]
    return {folder.name: len(list(folder.glob("*.h5"))) for folder in folders}


def test_stage_extracts_each_distinct_file_once_and_an_edited_row_computes_its_clips_only(project: Project) -> None:
    project.write(ablations=ROWS)
    base = project.entries()
    project.stage("variants")
    assert variant_files() == {"faces": 1, "visual": 2, "spectrograms": 1, "acoustic": 1}
    added = {step: len(keys - base.get(step, set())) for step, keys in project.entries().items()}
    videos, sounds = (len(Reader(f"data/{name}.h5", schema=None)) for name in ("faces", "spectrograms"))
    files = read_index(read_ablations())
    assert files["full"] == files["as before"] == STANDARD
    assert files["own faces"] == files["own faces, narrow"]
    assert added["spectrograms"] == added["embed_mels"] == sounds
    fewer = len(Reader(files["own faces"].visual, schema=None))
    assert added["embed_faces"] == videos + fewer  # with other tokens, and with other faces
    assert files["own faces"].acoustic == files["grid"].acoustic == STANDARD.acoustic
    assert Reader(files["own faces"].visual, schema=None).attributes["upstream"]["config"]["frames_per_clip"] == 2
    assert (
        Reader(files["grid"].visual, schema=None).attributes["upstream"]
        == (Reader(STANDARD.visual, schema=None).attributes["upstream"])
    )
    bytes_of = {path: path.read_bytes() for path in Path("data/variants").rglob("*") if path.is_file()}
    first = project.entries()
    project.stage("variants")
    assert project.entries() == first
    assert {path: path.read_bytes() for path in bytes_of} == bytes_of
    project.write(ablations=ROWS | {"no overlap": {"spectrograms": {"overlap": 0.25}}})
    project.stage("variants")
    after = project.entries()
    assert {step for step, keys in after.items() if keys - first[step]} == {"spectrograms", "embed_mels"}
    assert len(after["embed_mels"] - first["embed_mels"]) == sounds


def test_index_of_other_rows_is_refused(project: Project) -> None:
    project.write(ablations={"full": {}})
    project.stage("variants")
    for rows in (ROWS, {"full": {}, "grid": ROWS["grid"]}):
        project.write(ablations=rows)
        with pytest.raises(StoreError, match=r"rows\.json was made for another row .* run: dvc repro variants"):
            read_index(read_ablations())
    project.write(ablations={"full": {}, "none": {"faces": {}}})
    with pytest.raises(StoreError, match=r"another row 'none'"):
        read_index(read_ablations())
    INDEX.write_text("{")
    with pytest.raises(StoreError, match=r"rows.json is damaged .* run: dvc repro --force variants"):
        read_index(read_ablations())


def fdan_ablate(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["ablate", *arguments])
    assert result.exit_code == 0, f"{result.output}{result.exception!r}"
    return result.output


def preview_rows(output: str) -> dict[str, list[str]]:
    """Return the counts and the time of each step."""
    cells = [[it.strip() for it in line.split("│")[1:-1]] for line in output.splitlines() if line.startswith("│")]
    return {step: values[:3] for step, *values in cells}


def test_a_grid_is_extracted_into_the_cache_and_then_taken_from_there(project: Project) -> None:
    project.write(ablations=ROWS)
    project.stage("variants")
    made = set(Path("data/variants").rglob("*"))
    grid = ("--grid", "spectrograms.overlap=0,0.75", "--grid", "head.width=8")
    before = project.files()
    preview = fdan_ablate(*grid, "--dry-run")
    assert project.files() == before  # nothing was written
    sounds = len(Reader("data/spectrograms.h5", schema=None))
    assert "spectrograms.overlap=0.75, head.width=8" in preview
    rows = {
        line.split("│")[1].strip(): [it.strip() for it in line.split("│")]
        for line in preview.splitlines()
        if "│" in line
    }
    assert rows["embed_mels"][2:4] == ["0", f"up to {sounds + 0}"] or rows["embed_mels"][2] == "0"
    assert rows["ablate (runs)"][2:4] == ["0", "6"]  # three rows on two folds
    fdan_ablate(*grid)
    cached = list((project.folder / ".memo/variants").rglob("*.h5"))
    assert sorted(path.parent.name for path in cached) == ["acoustic", "spectrograms"]  # overlap=0 is the stage's
    assert set(Path("data/variants").rglob("*")) == made
    entries, states = project.entries(), {path: path.stat().st_mtime_ns for path in cached}
    again = fdan_ablate(*grid, "--dry-run")
    assert preview_rows(again) == {"ablate (runs)": ["6", "0", "0 s"]}
    fdan_ablate(*grid)
    assert project.entries() == entries
    assert {path: path.stat().st_mtime_ns for path in cached} == states


def test_an_edited_plugin_is_noticed_on_the_command_line_before_its_stage_has_run(project: Project) -> None:
    project.write(ablations=ROWS)
    project.stage("variants")
    plugin = Path("plugins/own_faces.py")
    assert preview_rows(fdan_ablate("--rows", "own faces", "--dry-run")).keys() == {"ablate (runs)"}
    plugin.write_text(OWN_FACES + "\nEDITED = True\n")
    code_version.cache_clear()  # a process reads its code once
    edited = preview_rows(fdan_ablate("--rows", "own faces,no overlap", "--dry-run"))
    plugin.write_text(OWN_FACES)
    code_version.cache_clear()
    videos = sum("visual" in clip.modalities for clip in read_rows(MANIFEST, Clip))
    assert edited.keys() == {"faces", "embed_faces", "ablate (runs)"}
    assert edited["faces"][:2] == ["0", str(videos)]


def test_names_of_rows_are_never_cut_in_the_preview(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.cli.preview.console.width", 80)
    project.write(ablations={"full": {}})
    Path("plugins/own_faces_again.py").write_text(OWN_FACES)
    output = fdan_ablate("--grid", "faces.detector=own_faces:build,own_faces_again:build", "--dry-run")
    cells = [line.split("│")[-2].strip() for line in output.splitlines() if line.startswith("│")]
    assert "…" not in output
    assert "faces.detector=own_faces_again:build" in "".join(cells)
    assert cells[-1] == "all rows"


def test_an_interrupted_table_goes_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.memo.entries import Memo

    project.write(ablations={"full": {}})
    write = Memo.write
    done: list[str] = []

    def interrupt(self: Memo, step: str, key: str, arrays: Any) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        write(self, step, key, arrays)
        done.append(step)

    grid = ("--grid", "faces.frames_per_clip=2")
    with monkeypatch.context() as patch:
        patch.setattr(Memo, "write", interrupt)
        assert CliRunner().invoke(app, ["ablate", *grid]).exit_code != 0
    assert done == ["faces"] * 5
    before = project.entries()
    preview = fdan_ablate(*grid, "--dry-run")
    assert preview_rows(preview)["faces"][0] == "5"
    fdan_ablate(*grid)
    new = {step: len(keys - before.get(step, set())) for step, keys in project.entries().items()}
    videos = sum("visual" in clip.modalities for clip in read_rows(MANIFEST, Clip))
    assert new["faces"] == videos - 5
    assert new["embed_faces"] < videos  # two clips show no face in these frames
    assert preview_rows(fdan_ablate(*grid, "--dry-run")).keys() == {"ablate (runs)"}


def test_stage_ablate_compares_rows_of_every_kind(project: Project) -> None:
    project.write(ablations=ROWS)
    project.stage("variants")
    project.stage("ablate")
    table = Ablation.read(Path("results/ablation.json"))
    assert [(row.section, row.name) for row in table.rows] == [
        ("reference", "full"),
        ("faces", "own faces"),
        ("faces", "as before"),
        ("faces + head", "own faces, narrow"),
        ("spectrograms", "no overlap"),
        ("embed_faces", "grid"),
    ]
    rows = {row.name: row for row in table.rows}
    assert (rows["as before"].difference, rows["as before"].lost_modality) == (0, 0)
    with_face = [set(Reader(it.visual, schema=None)) for it in (STANDARD, read_index(read_ablations())["own faces"])]
    fewer = with_face[0] - with_face[1]
    assert rows["own faces"].lost_modality == len(fewer & set(Reader(STANDARD.acoustic, schema=None))) == 1
    assert rows["own faces"].lost_clips == rows["full"].lost_clips == 0
    header = Path("results/ablation.csv").read_text().splitlines()[0].split(",")
    assert header[:2] == ["section", "row"]
    assert json.loads(INDEX.read_text())["schema"] == "fdan.variants/1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--grid", "faces.detectr=cascade"), "faces.detectr: unknown key; did you mean 'detector'?"),
        (("--grid", "spectrograms.overlap=2"), "spectrograms.overlap = 2: "),
        (("--grid", "spectrograms.kind=mfc"), "unknown spectrogram 'mfc'; did you mean 'mfcc'?"),
        (("--grid", "manifest.modalities=require"), "a row cannot change manifest: "),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_extracted(
    project: Project, arguments: tuple[str, ...], words: str
) -> None:
    project.write(ablations={"full": {}})
    before = project.files()
    result = CliRunner().invoke(app, ["ablate", *arguments])
    assert result.exit_code == 1
    message = result.output.removeprefix("error: ").rstrip("\n")
    assert_one_line(message)
    assert words in message
    assert project.files() == before


def test_preview_fetches_no_weights(project: Project) -> None:
    project.write(ablations={"full": {}})
    before = project.files()
    output = fdan_ablate("--grid", "embed_faces.weights=imagenet", "--grid", "head.width=8,16", "--dry-run")
    words = "its work is unknown until its weights are here: resnet18"
    assert all(f"embed_faces.weights=imagenet, head.width={width}: {words}" in output for width in (8, 16))
    held, missing, _ = preview_rows(output)["ablate (runs)"]
    assert (int(held) + int(missing), int(missing) >= 4) == (6, True)
    assert "In all: unknown" in output
    assert project.files() == before
    project.write(ablations={"full": {}}, embed_mels={"weights": "imagenet"})  # which other faces do not need
    base = read_settings()
    assert missing_weights(override_settings(base, {"faces": {"frames_per_clip": 1}}, row="fewer"), base) == []


def test_damaged_variant_says_how_to_make_it_again(tmp_path: Path) -> None:
    for folder, hint in (
        ("data/variants/visual", "; run: dvc repro --force --single-item variants"),
        ("cache/variants/visual", "; delete it if it exists, and run the command again"),
    ):
        path = tmp_path / folder / "a.h5"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no file of HDF5")
        with pytest.raises(StoreError) as caught:
            len(Reader(path, schema=None))
        assert str(caught.value).startswith(f"{path} is damaged")
        assert str(caught.value).endswith(hint)


def test_images_that_were_made_with_other_settings_are_refused(project: Project) -> None:
    project.write(ablations={"full": {}}, faces={"margin": 0.5})
    result = CliRunner().invoke(app, ["ablate", "--grid", "embed_faces.tokens=columns"])
    assert result.output == (
        "error: data/embeddings/visual.h5 was made with faces.margin = 0.25, and params.yaml has 0.5; "
        "run: dvc repro embed_faces\n"
    )


@pytest.mark.parametrize("grid", ["faces.frames_per_clip=2", "head.width=8"])
def test_embeddings_that_were_made_with_other_settings_are_no_reference(project: Project, grid: str) -> None:
    project.write(ablations={"full": {}}, faces={"detector": "own_faces:build"})
    result = CliRunner().invoke(app, ["ablate", "--grid", grid])
    assert result.output == (
        "error: data/embeddings/visual.h5 was made with faces.detector = 'cascade', and params.yaml has "
        "'own_faces:build'; run: dvc repro embed_faces\n"
    )
