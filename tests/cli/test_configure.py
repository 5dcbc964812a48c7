"""`fdan configure` describes a corpus and changes params.yaml for it; `fdan doctor` reports faults."""

import re
import shutil
import sys
from collections import Counter
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from conftest import write_short_media
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from data_manifest.corpora.adapters import CorpusConfig
from data_manifest.corpora.probing import probe_corpus
from data_manifest.manifest.clips import Clip, Exclusion, ManifestConfig, build_manifest, write_rows
from data_manifest.splits.protocols import ProtocolConfig, make_splits
from pipeline.base.params import check, read_section
from pipeline.base.provenance import ROOT
from pipeline.cli.main import app
from pipeline.cli.sections import MODELS
from pipeline.cli.survey import Survey, describe_protocol, protocols_for
from pipeline.parallel.pool import ExecutionConfig


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "plugins", tmp_path / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)


def fdan(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "250"}).invoke(app, arguments)


def params() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml"))
    return loaded


def write_ravdess(*names: str) -> Path:
    """Write small media of these names below `media`; return the folder."""
    for name in names:
        write_short_media(Path("media") / name)
    return Path("media").resolve()


def test_configure_shows_the_survey_and_changes_the_parameters() -> None:
    root = write_ravdess("01-01-05-01-01-01-01.mp4", "03-01-05-01-01-01-01.wav", "03-01-02-01-02-01-02.wav", "x.mp4")
    result = fdan("configure", "ravdess", "--root", "media")
    assert result.exit_code == 0
    for words in (
        "anger 1, neutral 1",
        "video 1, audio file 1",
        "RAVDESS: 2 of 1440 speech trials; missing: ",
        "1 file left out: the same performance",
        "1 file left out: not a RAVDESS file name",
    ):
        assert words in result.output
    changed = params()
    assert changed["corpora"] == {"ravdess": {"adapter": "ravdess", "root": str(root)}}
    assert changed["render"] == {}
    assert list(changed["protocols"]) == ["random"]  # one speaker
    assert "protocols.random: 5 folds; p of a comparison is at least 0.062" in result.output
    assert changed["embed_faces"]["weights"] == changed["embed_mels"]["weights"] == "imagenet"
    for name, model in MODELS.items():
        read_section(name, model)


def survey(speakers: int, **parts: int) -> Survey:
    return Survey({"official parts": Counter(parts)}, [f"s{n}" for n in range(speakers)], 0, 0, [])


@pytest.mark.parametrize(
    ("adapter", "corpus", "protocols", "folds", "smallest_p"),
    [
        ("savee", survey(4), ["speaker_folds", "random"], 4, 0.125),
        ("emodb", survey(10), ["speaker_folds", "random"], 10, 2 / 2**10),
        ("mine", survey(12), ["speaker_folds", "random"], 12, 2 / 2**12),
        ("crema_d", survey(91), ["speaker_folds", "random"], 10, 2 / 2**10),
        ("ravdess", survey(24), ["speaker_folds", "published_folds", "random"], 10, 2 / 2**10),
        ("mine", survey(2), ["random"], 5, 2 / 2**5),
        ("meld", survey(260, train=9989, test=2610), ["official", "random"], None, None),
    ],
)
def test_protocols_have_as_many_folds_as_a_comparison_needs(
    adapter: str, corpus: Survey, protocols: list[str], folds: int | None, smallest_p: float | None
) -> None:
    recommended = protocols_for(adapter, corpus)
    assert list(recommended) == protocols
    text = describe_protocol(protocols[0], recommended[protocols[0]], len(corpus.speakers))
    if folds is None:
        assert text == "official: one training set; a comparison counts dialogues or speakers"
    else:
        assert text == f"{protocols[0]}: {folds} folds; p of a comparison is at least {smallest_p:.2g}"
    check(recommended, dict[str, ProtocolConfig], where="protocols")


def test_published_folds_say_what_their_least_p_is() -> None:
    published = protocols_for("ravdess", survey(24))["published_folds"]
    assert published == {"kind": "speaker_folds", "groups": "ravdess_6"}
    words = "published_folds: 6 folds; p of a comparison is at least 0.031"
    assert describe_protocol("published_folds", published, 24) == words


def test_corpus_without_known_emotions_is_refused() -> None:
    before = Path("params.yaml").read_bytes()
    for name in ("1001_DFA_ANG_XX.wav", "1001_DFA_DIS_XX.wav"):
        write_short_media(Path("media/AudioWAV") / name)
    result = fdan("configure", "folder", "--root", "media")
    assert result.exit_code == 1
    output = " ".join(result.output.split())
    assert "none of the 2 clips in " in output
    assert "has a known emotion: they are labelled audiowav" in output
    assert Path("params.yaml").read_bytes() == before


def test_configure_notes_an_unused_merge() -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("merge: {", "merge: {boredom: neutral, "))
    write_ravdess("01-01-05-01-01-01-01.mp4")
    result = fdan("configure", "ravdess", "--root", "media")
    assert "manifest.merge renames 'boredom', which no clip of this corpus has" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ravdess", "--root", "media", "--option", "vocal=[a"), "--option vocal=[a: the value is not valid YAML"),
        (("a/b", "--adapter", "ravdess", "--root", "media"), "corpora.a/b: use only letters"),
    ],
)
def test_invalid_argument_is_a_one_line_error(arguments: tuple[str, ...], words: str) -> None:
    write_ravdess("01-01-05-01-01-01-01.mp4")
    result = fdan("configure", *arguments)
    assert result.exit_code == 1
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_files_with_the_same_reason_share_one_note() -> None:
    for actor in range(1001, 1011):
        for suffix in (".wav", ".mp3"):
            write_short_media(Path("media") / f"{actor}_DFA_ANG_XX{suffix}")
    result = fdan("configure", "crema_d", "--root", "media")
    assert "10 files left out: the audio is taken" in result.output
    assert result.output.count("the audio is taken") == 1


def test_configure_keeps_comments_and_other_sections() -> None:
    write_ravdess("03-01-02-01-02-01-02.wav")
    before = Path("params.yaml").read_text().splitlines()
    fdan("configure", "ravdess", "--root", "media")
    lines = Path("params.yaml").read_text().splitlines()
    kept = [line for line in lines if line in before]
    assert "  size_px: 224" in kept
    assert "  workers: null  # null: one per core" in kept
    assert any("# ablations use the first one" in line for line in lines)
    assert len(before) - len(kept) <= 13  # the sample's lines, protocols and weights
    old, new = YAML(typ="safe").load("\n".join(before)), params()
    other_sections = set(old) - {"render", "corpora", "protocols", "embed_faces", "embed_mels"}
    assert {name: new[name] for name in other_sections} == {name: old[name] for name in other_sections}


def test_dry_run_changes_nothing_and_add_keeps_other_corpora() -> None:
    write_ravdess("03-01-02-01-02-01-02.wav", "03-02-02-01-02-01-02.wav")
    before = Path("params.yaml").read_bytes()
    assert fdan("configure", "ravdess", "--root", "media", "--dry-run").exit_code == 0
    assert Path("params.yaml").read_bytes() == before
    result = fdan("configure", "sung", "--root", "media", "--adapter", "ravdess", "--option", "vocal=song", "--add")
    assert result.exit_code == 0
    assert list(params()["corpora"]) == ["sample", "sung"]
    assert params()["corpora"]["sung"]["options"] == {"vocal": "song"}
    assert params()["render"]["sample"]["speakers"] == 10
    assert params()["embed_faces"]["weights"] == "random"


def test_added_corpus_has_protocols_of_its_own_and_leaves_the_others_as_they_were() -> None:
    codes = [f"03-01-{emotion:02}-01-02-01-{actor:02}.wav" for actor in (1, 2, 3) for emotion in (2, 3, 4)]
    write_ravdess(*codes)
    fdan("configure", "ravdess", "--root", "media")
    for speaker in "abc":
        for emotion in ("happiness", "sadness"):
            write_short_media(Path("mine") / emotion / f"{speaker}_1.wav")
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("weights: imagenet", "weights: random"))
    result = fdan("configure", "mine", "--adapter", "folder", "--root", "mine", "--add")
    assert result.exit_code == 0, result.output
    assert "id001" not in Path("params.yaml").read_text()  # an anchor, so that two protocols would share a list
    protocols = params()["protocols"]
    assert protocols["speaker_folds"]["corpora"] == protocols["random"]["corpora"] == ["ravdess"]
    assert protocols["mine_speaker_folds"] == {"kind": "speaker_folds", "groups": "each_speaker", "corpora": ["mine"]}
    assert protocols["mine_from_others"] == {"kind": "cross_corpus", "train": ["ravdess"], "test": ["mine"]}
    assert params()["embed_faces"]["weights"] == "random"  # somebody's choice, since the sample has gone
    clips = []
    run = ExecutionConfig(scheduler="synchronous")
    for name, config in read_section("corpora", dict[str, CorpusConfig]).items():
        clips += probe_corpus(name, config, run).clips
    kept, _ = build_manifest(clips, [], read_section("manifest", ManifestConfig))
    for name, protocol in read_section("protocols", dict[str, ProtocolConfig]).items():
        tested = {clip.corpus for split in make_splits(kept, name, protocol) for clip in split.test}
        assert tested == ({"mine"} if name.startswith("mine") else {"ravdess"})


def test_merged_emotions_are_counted() -> None:
    write_ravdess("03-01-01-01-02-01-02.wav", "03-01-02-01-02-01-02.wav", "03-02-02-01-02-01-03.wav")
    result = fdan("configure", "ravdess", "--root", "media")
    assert "'calm' (1 clip) becomes 'neutral', by manifest.merge" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ravdes", "--root", "media"), "did you mean 'ravdess'?"),
        (("ravdess", "--root", "nowhere"), "corpora.ravdess.root: no folder "),
        (("ravdess", "--root", "media", "--option", "vocl=song"), "options.vocl: unknown key; did you mean 'vocal'?"),
        (("ravdess", "--root", "media", "--option", "song"), "--option song: write it as name=value"),
        (("savee", "--root", "media"), "contains no clip of 'savee'; looked for DC/a01.wav"),
    ],
)
def test_error_is_one_line_and_changes_nothing(arguments: tuple[str, ...], words: str) -> None:
    write_ravdess("03-01-02-01-02-01-02.wav")
    before = Path("params.yaml").read_bytes()
    result = fdan("configure", *arguments)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert words in result.output
    assert Path("params.yaml").read_bytes() == before


def test_corpus_of_git_lfs_pointers_is_refused_with_the_command_to_run() -> None:
    Path("media").mkdir()
    Path("media/1001_DFA_ANG_XX.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    result = fdan("configure", "crema_d", "--root", "media")
    assert result.exit_code == 1
    assert "no file of" in result.output
    assert "1 file left out: a git-lfs pointer, not the media; run: git lfs pull" in result.output


def test_fallback_for_an_unreadable_file_is_counted() -> None:
    write_short_media(Path("media/1001_DFA_ANG_XX.mp3"))
    Path("media/1001_DFA_ANG_XX.wav").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    result = fdan("configure", "crema_d", "--root", "media")
    assert result.exit_code == 0
    assert "audio file 1" in result.output
    assert "1 file left out: a git-lfs pointer, not the media; run: git lfs pull" in result.output
    assert "the audio is taken" not in result.output  # the MP3 file is used instead


def test_doctor_finds_no_fault_in_the_default_project() -> None:
    result = fdan("doctor")
    assert result.exit_code == 0
    assert "params.yaml: all 13 sections are valid" in result.output
    assert "corpora.sample: will be rendered by the first dvc repro" in result.output
    assert "embed_faces.weights: random" in result.output
    assert "FAULT" not in result.output


def test_doctor_reports_all_faults_at_once() -> None:
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
    assert len(faults) == 5  # embed_mels shares the weights of embed_faces
    for words in ("faces.detectr: unknown key", "train.epochs = 0", "no folder 'nowhere'", "mine.pth does not exist"):
        assert any(words in line for line in faults), words


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("faces", {"detector": "no_such_module:build"}, "no_such_module"),
        ("ablations", {"full": {}, "odd": {"head": {"widht": 3}}}, "did you mean 'width'?"),
        ("ablations", {"full": {}, "odd": {"faces": {"detectr": "yunet"}}}, "ablations.odd.faces.detectr: unknown key"),
        ("ablations", {"full": {}, "odd": {"spectrograms": {"overlap": 2}}}, "ablations.odd.spectrograms.overlap = 2"),
        (
            "ablations",
            {"odd": {"embed_mels": {"backbone": "no_such_module:build"}}},
            "No module named 'no_such_module'",
        ),
        (
            "ablations",
            {"odd": {"embed_mels": {"weights": "mine.pth"}}},
            "ablations.odd.embed_mels.weights: mine.pth does",
        ),
        ("ablations", {"odd": {"manifest": {}}}, "ablations.odd: a row cannot change manifest"),
        ("nonsense", {}, "unknown section 'nonsense'"),
    ],
)
def test_doctor_checks_plugins_and_overrides(section: str, values: dict[str, Any], words: str) -> None:
    changed = params()
    changed[section] = changed.get(section, {}) | values
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe").dump(changed, file)
    result = fdan("doctor")
    assert result.exit_code == 1
    assert words in result.output


def test_doctor_says_where_each_plugin_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for path in (Path("plugins/doctor_head.py"), Path("loose_detector.py")):
        path.parent.mkdir(exist_ok=True)
        path.write_text("def build(*_): ...\n")
    changed = params()
    changed["head"]["name"] = "doctor_head:build"
    changed["embed_mels"] = changed["embed_mels"] | {"backbone": "torchvision.models:resnet18"}
    changed["ablations"]["linear"] = {"alignment": {"name": "pipeline.alignments.coral:build_coral"}}
    changed["faces"]["detector"] = "loose_detector:build"
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe").dump(changed, file)
    output = fdan("doctor").output
    for line in (
        "ok    head.name: doctor_head:build is from plugins/doctor_head.py",
        f"ok    embed_mels.backbone: torchvision.models:resnet18 is from torchvision {metadata.version('torchvision')}",
        "ok    ablations.linear.alignment.name: pipeline.alignments.coral:build_coral is from fdan",
        f"FAULT params.yaml: faces.detector = 'loose_detector:build': loose_detector.py is in {Path.cwd()}, which "
        "DVC does not track; move it into plugins/ or install it as a package",
    ):
        assert line in output.splitlines()


def test_doctor_checks_the_protocols_against_the_manifest() -> None:
    for speaker in "ab":
        for emotion in ("anger", "fear"):
            write_short_media(Path("videos") / emotion / f"{speaker}_1.wav")
    fdan("configure", "mine", "--adapter", "folder", "--root", "videos")
    assert list(read_section("protocols", dict[str, ProtocolConfig])) == ["random"]  # too few speakers for folds
    config = CorpusConfig(adapter="folder", root="videos")
    probed = probe_corpus("mine", config, ExecutionConfig(scheduler="synchronous"))
    clips, left_out = build_manifest(probed.clips, probed.exclusions, ManifestConfig())
    write_rows(Path("data/manifest.csv"), clips, Clip)
    write_rows(Path("data/exclusions.csv"), left_out, Exclusion)
    result = fdan("doctor")
    assert result.exit_code == 1
    assert "FAULT protocols.random: fold 0: " in result.output
    part_of = {"a": "train", "b": "dev"}
    parts = [replace(clip, split=part_of[clip.speaker[-1]] if clip.emotion == "anger" else "train") for clip in clips]
    parts = [replace(clip, split="test") if clip.path == "fear/b_1.wav" else clip for clip in parts]
    write_rows(Path("data/manifest.csv"), parts, Clip)
    Path("params.yaml").write_text(re.sub("{kind: random.*}", "{kind: official}", Path("params.yaml").read_text()))
    assert "ok    protocols.random: 1 fold, " in fdan("doctor").output


def test_survey_and_checks_show_names_of_strangers_harmlessly() -> None:
    evil = "\x1b[31m\r\u202e[bold]"
    write_short_media(Path(f"media{evil}/joy{evil}/s_1.mp4"))
    write_short_media(Path(f"media{evil}/anger/s_1.mp4"))
    result = fdan("configure", "mine", "--adapter", "folder", "--root", f"media{evil}")
    assert result.exit_code == 0
    result_of_doctor = fdan("doctor")
    for output in (result.output, result_of_doctor.output):
        assert all(line.isprintable() for line in output.split("\n"))
        assert r"media\x1b[31m\r\u202e[bold]" in output


def test_doctor_says_that_the_cache_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for cache, words in (
        (tmp_path / "file", "the cache .*file is not a folder; set FDAN_CACHE to one"),
        (tmp_path / "file/below", ".*below is not writable; set FDAN_CACHE to another folder"),
    ):
        monkeypatch.setenv("FDAN_CACHE", str(cache))
        result = fdan("doctor")
        assert result.exit_code == 1
        assert re.search(f"FAULT cache: {words}", result.output)


def test_links_out_of_the_corpus_are_noted_and_can_be_followed() -> None:
    media = write_short_media(Path("elsewhere/1.mp4"))
    Path("media/anger").mkdir(parents=True)
    Path("media/anger/s_1.mp4").symlink_to(media.resolve())
    arguments = ("configure", "mine", "--adapter", "folder", "--root", "media")
    assert "1 file left out: a link that leads out of the corpus's root" in str(fdan(*arguments).output)
    assert fdan(*arguments, "--follow-links").exit_code == 0
    assert params()["corpora"]["mine"]["follow_links"] is True


def test_files_that_are_cut_short_are_counted() -> None:
    paths = [write_short_media(Path(f"media/{emotion}/s_1.wav")) for emotion in ("anger", "fear", "joy")]
    arguments = ("configure", "mine", "--adapter", "folder", "--root", "media", "--dry-run")
    assert "cut short" not in fdan(*arguments).output
    for path, count in zip(paths, ("1 file is", "2 files are"), strict=False):
        path.write_bytes(path.read_bytes()[:-1000])
        assert f"{count} cut short: anger/s_1.wav" in fdan(*arguments).output
    fdan(*arguments[:-1])
    assert "note  corpora.mine: 2 files are cut short: anger/s_1.wav, fear/s_1.wav" in fdan("doctor").output
