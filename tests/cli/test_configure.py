"""`fdan configure` and `fdan doctor`: a corpus is described, params.yaml changed for it, and faults are named."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import write_tiny
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from data_manifest.corpora.adapters import CorpusConfig
from data_manifest.corpora.probing import probe_corpus
from data_manifest.manifest.clips import Clip, Exclusion, ManifestConfig, assemble, write_rows
from data_manifest.splits.protocols import ProtocolConfig
from pipeline.base.params import read_section
from pipeline.base.provenance import ROOT
from pipeline.cli.doctor import MODELS
from pipeline.cli.main import app
from pipeline.embeddings.backbones import published_weights
from pipeline.faces import landmarks
from pipeline.parallel.pool import ExecutionConfig


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def fdan(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "250"}).invoke(app, arguments)


def params() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml"))
    return loaded


def ravdess(*names: str) -> Path:
    for name in names:
        write_tiny(Path("media") / name)
    return Path("media").resolve()


def test_configure_says_what_it_found_and_points_the_parameters_at_it() -> None:
    root = ravdess("01-01-05-01-01-01-01.mp4", "03-01-05-01-01-01-01.wav", "03-01-02-01-02-01-02.wav", "x.mp4")
    result = fdan("configure", "ravdess", "--root", "media")
    assert result.exit_code == 0
    for words in (
        "anger 1, neutral 1",
        "film 1, sound file 1",
        "RAVDESS: 2 of 1440 speech trials; missing: ",
        "1 files left out: the same performance",
        "1 files left out: its name is not one of RAVDESS's",
    ):
        assert words in result.output
    after = params()
    assert after["corpora"] == {"ravdess": {"adapter": "ravdess", "root": str(root)}}
    assert after["render"] == {}
    assert list(after["protocols"]) == ["speaker_folds", "random"]
    assert after["protocols"]["speaker_folds"] == {"kind": "speaker_folds", "groups": "ravdess_6"}
    assert after["embed_faces"]["weights"] == after["embed_mels"]["weights"] == "imagenet"
    for name, model in MODELS.items():
        read_section(name, model)


def test_a_folder_that_holds_no_emotion_is_refused_and_the_parameters_stay() -> None:
    before = Path("params.yaml").read_bytes()
    for name in ("1001_DFA_ANG_XX.wav", "1001_DFA_DIS_XX.wav"):
        write_tiny(Path("media/AudioWAV") / name)
    result = fdan("configure", "folder", "--root", "media")
    assert result.exit_code == 1
    assert "2 clips, and none has an emotion of the pipeline: they are labelled audiowav" in " ".join(
        result.output.split()
    )
    assert Path("params.yaml").read_bytes() == before


def test_a_merge_that_nothing_needs_any_more_is_told() -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("merge: {", "merge: {boredom: neutral, "))
    ravdess("01-01-05-01-01-01-01.mp4")
    result = fdan("configure", "ravdess", "--root", "media")
    assert "manifest.merge renames 'boredom', and no clip here is labelled so" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ravdess", "--root", "media", "--option", "vocal=[a"), "--option vocal=[a: the value cannot be read"),
        (("a/b", "--adapter", "ravdess", "--root", "media"), "corpora.a/b: a corpus's name is made of letters"),
    ],
)
def test_what_cannot_be_understood_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    ravdess("01-01-05-01-01-01-01.mp4")
    result = fdan("configure", *arguments)
    assert result.exit_code == 1
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_ten_files_with_one_reason_are_one_line() -> None:
    for actor in range(1001, 1011):
        for suffix in (".wav", ".mp3"):
            write_tiny(Path("media") / f"{actor}_DFA_ANG_XX{suffix}")
    result = fdan("configure", "crema_d", "--root", "media")
    assert "10 files left out: the sound is taken" in result.output
    assert result.output.count("the sound is taken") == 1


def test_configure_keeps_the_comments_and_all_that_does_not_concern_it() -> None:
    ravdess("03-01-02-01-02-01-02.wav")
    before = Path("params.yaml").read_text().splitlines()
    fdan("configure", "ravdess", "--root", "media")
    lines = Path("params.yaml").read_text().splitlines()
    kept = [line for line in lines if line in before]
    assert "  size_px: 224" in kept
    assert "  workers: null  # null: one a core" in kept
    assert any("# the first one is the one that the ablations use" in line for line in lines)
    assert len(before) - len(kept) <= 13  # the sample's lines, protocols and weights
    old, new = YAML(typ="safe").load("\n".join(before)), params()
    unconcerned = set(old) - {"render", "corpora", "protocols", "embed_faces", "embed_mels"}
    assert {name: new[name] for name in unconcerned} == {name: old[name] for name in unconcerned}


def test_a_dry_run_changes_nothing_and_add_keeps_the_other_corpora() -> None:
    ravdess("03-01-02-01-02-01-02.wav", "03-02-02-01-02-01-02.wav")
    before = Path("params.yaml").read_bytes()
    assert fdan("configure", "ravdess", "--root", "media", "--dry-run").exit_code == 0
    assert Path("params.yaml").read_bytes() == before
    result = fdan("configure", "sung", "--root", "media", "--adapter", "ravdess", "--option", "vocal=song", "--add")
    assert result.exit_code == 0
    assert list(params()["corpora"]) == ["sample", "sung"]
    assert params()["corpora"]["sung"]["options"] == {"vocal": "song"}
    assert params()["render"]["sample"]["speakers"] == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ravdes", "--root", "media"), "did you mean 'ravdess'?"),
        (("ravdess", "--root", "nowhere"), "corpora.ravdess.root: no folder "),
        (("ravdess", "--root", "media", "--option", "vocl=song"), "options.vocl: unknown key; did you mean 'vocal'?"),
        (("ravdess", "--root", "media", "--option", "song"), "--option song: write it as name=value"),
        (("savee", "--root", "media"), "holds no clip that 'savee' knows; looked for DC/a01.wav"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(arguments: tuple[str, ...], words: str) -> None:
    ravdess("03-01-02-01-02-01-02.wav")
    before = Path("params.yaml").read_bytes()
    result = fdan("configure", *arguments)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert words in result.output
    assert Path("params.yaml").read_bytes() == before


def test_a_corpus_of_nothing_but_pointers_is_refused_and_says_what_to_run() -> None:
    Path("media").mkdir()
    Path("media/1001_DFA_ANG_XX.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    result = fdan("configure", "crema_d", "--root", "media")
    assert result.exit_code == 1
    assert "no file of" in result.output
    assert "1 files left out: a git-lfs pointer, not the media; run: git lfs pull" in result.output


def test_a_file_that_stands_in_for_a_spoiled_one_is_counted_as_what_it_is() -> None:
    write_tiny(Path("media/1001_DFA_ANG_XX.mp3"))
    Path("media/1001_DFA_ANG_XX.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    result = fdan("configure", "crema_d", "--root", "media")
    assert result.exit_code == 0
    assert "sound file 1" in result.output
    assert "1 files left out: a git-lfs pointer, not the media; run: git lfs pull" in result.output
    assert "the sound is taken" not in result.output  # it is the sound


def test_doctor_finds_nothing_wrong_with_the_project_as_it_is() -> None:
    result = fdan("doctor")
    assert result.exit_code == 0
    assert "params.yaml: all 13 sections are valid" in result.output
    assert "corpora.sample: is drawn at the first dvc repro" in result.output
    assert "embed_faces.weights: random" in result.output
    assert "FAULT" not in result.output


def test_doctor_names_every_fault_at_once() -> None:
    changed = params()
    changed["faces"]["detectr"] = "cascade"
    changed["train"]["epochs"] = 0
    changed["corpora"]["mine"] = {"adapter": "folder", "root": "nowhere"}
    changed["embed_faces"]["weights"] = "mine.pth"
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe").dump(changed, file)
    result = fdan("doctor")
    assert result.exit_code == 1
    faults = [line for line in result.output.splitlines() if line.startswith("FAULT")]
    assert len(faults) == 6  # embed_mels has the weights of embed_faces, and the detector is looked at by itself
    for words in ("faces.detectr: unknown key", "train.epochs = 0", "no folder 'nowhere'", "mine.pth is not there"):
        assert any(words in line for line in faults), words


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("faces", {"detector": "no_such_module:build"}, "no_such_module"),
        ("ablations", {"full": {}, "odd": {"head": {"widht": 3}}}, "did you mean 'width'?"),
        ("nonsense", {}, "unknown section 'nonsense'"),
    ],
)
def test_doctor_looks_behind_names_and_overrides(section: str, values: dict[str, Any], words: str) -> None:
    changed = params()
    changed[section] = changed.get(section, {}) | values
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe").dump(changed, file)
    result = fdan("doctor")
    assert result.exit_code == 1
    assert words in result.output


def test_doctor_tells_where_weights_must_lie_until_they_do() -> None:
    changed = params()
    changed["embed_faces"]["weights"] = "imagenet"
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe").dump(changed, file)
    published = published_weights()["resnet34"]
    output = fdan("doctor").output
    assert all(words in output for words in (published.url, published.sha256, str(published.place)))
    published.place.parent.mkdir(parents=True)
    published.place.touch()
    assert f"ok    embed_faces.weights: {published.place} is there" in fdan("doctor").output


def test_doctor_tells_of_the_weights_that_level_eyes() -> None:
    changed = params()
    changed["faces"]["align"] = "fan"
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe").dump(changed, file)
    (published,) = landmarks.WEIGHT_FILES["fan"]
    assert f"note  faces.landmark_weights: {published.missing()}" in fdan("doctor").output
    changed["faces"]["landmark_weights"] = "nowhere.pth"
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe").dump(changed, file)
    assert "FAULT faces.landmark_weights: nowhere.pth is not there" in fdan("doctor").output


def test_doctor_tries_the_protocols_on_the_manifest() -> None:
    for speaker in "ab":
        for emotion in ("anger", "fear"):
            write_tiny(Path("films") / emotion / f"{speaker}_1.wav")
    fdan("configure", "mine", "--adapter", "folder", "--root", "films")
    assert list(read_section("protocols", dict[str, ProtocolConfig])) == ["random"]  # too few speakers for folds
    config = CorpusConfig(adapter="folder", root="films")
    found = probe_corpus("mine", config, ExecutionConfig(scheduler="synchronous"))
    clips, left_out = assemble(found.clips, found.exclusions, ManifestConfig())
    write_rows(Path("data/manifest.csv"), clips, Clip)
    write_rows(Path("data/exclusions.csv"), left_out, Exclusion)
    result = fdan("doctor")
    assert result.exit_code == 1
    assert "FAULT protocols.random: fold 0: " in result.output
