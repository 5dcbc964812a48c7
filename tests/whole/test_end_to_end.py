"""The pipeline as a user meets it: `dvc repro` in a fresh copy of the repository, on a small sample corpus."""

import csv
import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import pytest
from conftest import write_media
from workspace import Workspace, executed_stages

from data_manifest.manifest.clips import Clip, Exclusion, read_rows
from pipeline.media.audio import read_audio
from pipeline.media.probe import probe

pytestmark = pytest.mark.slow

EXTRACTION = {"render@sample", "corpus@sample", "manifest", "faces", "spectrograms", "embed_faces", "embed_mels"}
LEARNING = {"train", "evaluate", "ablate", "report"}
ALL = EXTRACTION | {"variants"} | LEARNING
WITH_PLUGINS = ALL - {"render@sample", "manifest", "report"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which everything has been built, in one process."""
    workspace = Workspace(tmp_path_factory.mktemp("built"), scheduler="synchronous")
    assert workspace.repro() == ALL
    return workspace


def test_build_writes_all_results_and_figures(built: Workspace) -> None:
    clips = read_rows(built.folder / "data/manifest.csv", Clip)
    assert len(clips) == 4 * 7
    with h5py.File(built.folder / "data/embeddings/acoustic.h5") as file:
        assert [name.decode() for name in file["clip_id"]] == [
            it.clip_id for it in clips if "acoustic" in it.modalities
        ]
    metrics = json.loads((built.folder / "results/evaluation.json").read_text())
    assert list(metrics["protocols"]) == ["speaker_folds", "random"]
    assert "random backbone weights" in metrics["warning"]
    with (built.folder / "results/predictions.csv").open() as file:
        tested = {(row["protocol"], row["clip_id"]) for row in csv.DictReader(file) if row["modality"] == "fused"}
    assert tested == {(protocol, it.clip_id) for protocol in metrics["protocols"] for it in clips}
    figures = sorted((built.folder / "results/figures").rglob("*.png"))
    assert {f"{path.parent.name}/{path.stem}" for path in figures} == {
        "faces/faces",
        "spectrograms/spectrograms",
        *(f"evaluate/{name}" for name in ("confusion", "reliability", "spread", "tsne")),
        "ablate/ablation",
        *(f"report/{name}" for name in ("attention", "curves", "extraction", "mistakes")),
    }
    for path in figures:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in path.with_suffix(".svg").read_bytes()
    assert "Random backbone weights" in (built.folder / "results/report.html").read_text()


def test_predict_equals_the_predictions_of_the_pipeline(built: Workspace) -> None:
    with (built.folder / "results/predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["protocol"], row["fold"]) == ("speaker_folds", "0")]
    paths = {clip.clip_id: f"data/sample/{clip.path}" for clip in read_rows(built.folder / "data/manifest.csv", Clip)}
    clip_ids = list(dict.fromkeys(row["clip_id"] for row in rows))[:3]
    model = "models/folds/speaker_folds-0-0.safetensors"
    result = built.run("fdan", "predict", *(paths[clip_id] for clip_id in clip_ids), "--model", model, "--json", "-")
    assert result.stderr == ""  # no warning about other code or weights
    for clip_id, answer in zip(clip_ids, json.loads(result.stdout), strict=True):
        for kind, probabilities in answer["probabilities"].items():
            (row,) = (it for it in rows if (it["clip_id"], it["modality"]) == (clip_id, kind))
            assert probabilities == pytest.approx({name: float(row[f"p_{name}"]) for name in probabilities}, abs=1e-5)


def test_second_build_reruns_nothing(built: Workspace) -> None:
    assert built.repro() == set()


def test_concurrent_builds_share_one_memo_and_two_workers_give_the_same_lock(built: Workspace, tmp_path: Path) -> None:
    memo = tmp_path / "memo"
    same = Workspace(tmp_path / "same", cache=memo, scheduler="processes", workers=2)
    other = Workspace(tmp_path / "other", cache=memo, scheduler="synchronous")
    other.change_params({"spectrograms": {"bands": 64}})
    with ThreadPoolExecutor(2) as threads:
        builds = (
            threads.submit(same.repro, "embed_faces", "embed_mels"),
            threads.submit(other.repro, "faces", "embed_mels"),
        )
    assert [build.result() for build in builds] == [EXTRACTION, EXTRACTION - {"embed_faces"}]
    for name in ("faces.h5", "spectrograms.h5", "embeddings/acoustic.h5"):
        alone, equal, changed = ((it.folder / "data" / name).read_bytes() for it in (built, same, other))
        assert alone == equal
        assert (alone == changed) == ("faces" in name)
    entries = {path.name for path in (built.cache / "memo/embed_faces").rglob("*.entry")}
    assert {path.name for path in (memo / "memo/embed_faces").rglob("*.entry")} <= entries
    assert same.repro() == LEARNING | {"variants"}
    assert (same.folder / "dvc.lock").read_bytes() == (built.folder / "dvc.lock").read_bytes()


@pytest.mark.parametrize(
    ("params", "changed"),
    [
        ({"head": {"dropout": 0.2}}, LEARNING),
        ({"train": {"epochs": 4}}, LEARNING),
        ({"spectrograms": {"bands": 64}}, {"manifest", "spectrograms", "variants", "report"}),
        ({"faces": {"margin": 0.1}}, {"manifest", "faces", "variants", "report"}),
        (
            {"ablations": {"full": {}, "no overlap": {"spectrograms": {"overlap": 0}}}},
            {"manifest", "variants", "ablate", "report"},
        ),
        ({"run": {"workers": 1, "max_failures": 0.5}}, set()),
    ],
)
def test_changed_parameters_affect_their_stage_and_those_that_depend_on_it(
    built: Workspace, params: dict[str, Any], changed: set[str]
) -> None:
    with built.changed_params(params):
        status = json.loads(built.run("dvc", "status", "--json").stdout)
    assert set(status) == changed


def test_experiment_on_the_head_runs_no_extraction(built: Workspace) -> None:
    lock = built.folder / "dvc.lock"
    before = lock.read_bytes()
    with built.changed_params({}):  # restores them, which the experiment changes
        result = built.run("dvc", "exp", "run", "-S", "head.dropout=0.5", "train")
    lock.write_bytes(before)
    built.run("dvc", "checkout", "--force")
    assert executed_stages(result) == {"train"}


def test_experiments_in_temporary_folders_use_the_memo(built: Workspace, tmp_path: Path) -> None:
    with built.changed_params({"faces": {"margin": 0.1}}):  # without DVC
        assert built.run(sys.executable, "-m", "stages.faces").returncode == 0
    built.run("dvc", "checkout", "--force")
    before = built.extraction_entries()
    for where, dropout in (("--temp", 0.1), ("--queue", 0.2)):
        options = ("-S", "faces.margin=0.1", "-S", f"head.dropout={dropout}", "faces")
        assert built.run("dvc", "exp", "run", where, *options, XDG_CACHE_HOME=str(tmp_path)).returncode == 0
    assert built.run("dvc", "exp", "run", "--run-all", XDG_CACHE_HOME=str(tmp_path)).returncode == 0
    assert built.extraction_entries() == before
    assert not list(tmp_path.rglob("*.entry"))  # the default folder of the memo stays empty
    shown = json.loads(built.run("dvc", "exp", "show", "--json").stdout)
    assert json.dumps(shown).count('"margin": 0.1') >= 2
    table = built.run("make", "--assume-old=.venv/installed", "experiments", COLUMNS="120").stdout
    assert all(name in table for name in ("speaker_folds.uar", "faces.margin", "head.dropout")), table
    assert not {"pipeline", "plugins", "data", "stages"} & {*re.findall(r"\w+", table)}
    assert max(map(len, table.splitlines())) <= 120


OWN_DETECTOR = """
from pipeline.faces.detectors import cascade

def build(config):
    detect = cascade(config)
    return lambda frames: [boxes[:1] for boxes in detect(frames)]
"""


def test_edited_plugin_reruns_its_stage_and_the_memo_keeps_all_other_results(built: Workspace) -> None:
    lock = (built.folder / "dvc.lock").read_bytes()
    plugin = built.folder / "plugins/own_detector.py"
    with built.changed_params({"faces": {"detector": "own_detector:build"}}):
        plugin.write_text(OWN_DETECTOR.replace("[:1]", "[:2]"))
        assert built.run(sys.executable, "-m", "stages.faces").returncode == 0
        before = built.extraction_entries()
        plugin.write_text(OWN_DETECTOR.replace("[:1]", "[:3]"))
        assert built.repro("--single-item", "faces", "spectrograms") == {"faces", "spectrograms"}
    videos = sum("visual" in clip.modalities for clip in read_rows(built.folder / "data/manifest.csv", Clip))
    added = built.extraction_entries() - before
    assert len(added) == videos
    assert added <= {path.name for path in (built.cache / "memo/faces").rglob("*.entry")}
    plugin.unlink()
    (built.folder / "dvc.lock").write_bytes(lock)
    built.run("dvc", "checkout", "--force")


def test_status_names_every_stage_that_can_use_an_edited_plugin(built: Workspace) -> None:
    plugin = built.folder / "plugins/mirrored.py"
    text = plugin.read_text()
    plugin.write_text(f"{text}\n# edited\n")
    status = json.loads(built.run("dvc", "status", "--json").stdout)
    plugin.write_text(text)
    assert status == {stage: [{"changed deps": {"plugins": "modified"}}] for stage in WITH_PLUGINS}


def test_earlier_detector_comes_from_the_memo_and_other_faces_are_refused(built: Workspace) -> None:
    faces = built.folder / "data/faces.h5"
    first, before = faces.read_bytes(), built.extraction_entries()
    videos = sum("visual" in clip.modalities for clip in read_rows(built.folder / "data/manifest.csv", Clip))
    (built.folder / "plugins/own_detector.py").write_text(OWN_DETECTOR)
    with built.changed_params({"faces": {"detector": "own_detector:build"}}):
        assert built.run(sys.executable, "-m", "stages.faces").returncode == 0
    other = built.extraction_entries()
    assert len(other) == len(before) + videos
    refused = built.run(sys.executable, "-m", "stages.report")
    assert refused.returncode == 1
    assert "error: data/faces.h5 is not the file that the embeddings were made from; run: dvc repro" in refused.stderr
    assert built.run(sys.executable, "-m", "stages.faces").returncode == 0
    assert (faces.read_bytes(), built.extraction_entries()) == (first, other)
    built.run("dvc", "checkout", "--force")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"faces": {"detectr": "cascade"}}, "params.yaml: faces.detectr: unknown key; did you mean 'detector'?"),
        ({"spectrograms": {"rate_hz": -1}}, "params.yaml: spectrograms.rate_hz = -1: "),
        ({"corpora": {"sample": {"root": "nowhere"}}}, "nowhere"),
        (
            {"faces": {"detector": "examples.embeddings:build"}},
            "which DVC does not track; move it into plugins/",
        ),
    ],
)
def test_invalid_parameters_are_a_one_line_error_and_change_nothing(
    built: Workspace, params: dict[str, Any], words: str
) -> None:
    stage = {"spectrograms": "spectrograms", "corpora": "corpus@sample"}.get(next(iter(params)), "faces")
    outputs = {path: path.read_bytes() for path in (built.folder / "data").glob("*.h5")}
    with built.changed_params(params):
        result = built.run("dvc", "repro", "--single-item", stage)
    assert result.returncode != 0
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((built.folder / "data").glob(".*.h5"))
    built.run("dvc", "checkout", "--force")
    assert {path: path.read_bytes() for path in outputs} == outputs


def test_error_for_a_truncated_store_names_the_stage_to_run(built: Workspace) -> None:
    path = built.folder / "data/embeddings/visual.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    result = built.run(sys.executable, "-m", "stages.train")
    path.write_bytes(whole)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: data/embeddings/visual.h5 is damaged")
    assert "embed_faces" in result.stderr


def test_folder_of_clips_is_a_corpus_and_a_broken_clip_is_excluded(built: Workspace) -> None:
    own = built.folder / "own corpus"
    for clip in sorted((built.folder / "data/sample").glob("*/*.mp4")):
        speaker, emotion, number = clip.stem.split("_")
        (own / emotion).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, own / emotion / f"{speaker}_{number}.mp4")
    broken = sorted(own.rglob("*.mp4"))[3]
    broken.write_bytes(broken.read_bytes()[:3000])
    with built.changed_params(
        {"corpora": {"mine": {"adapter": "folder", "root": "own corpus"}}}, removing=["corpora.sample", "render.sample"]
    ):
        assert built.repro("manifest") == {"corpus@mine", "manifest"}
    clips = read_rows(built.folder / "data/manifest.csv", Clip)
    left_out = read_rows(built.folder / "data/exclusions.csv", Exclusion)
    assert len(clips) == 27
    assert [(row.path, row.stage) for row in left_out] == [(broken.relative_to(own).as_posix(), "corpus")]
    assert "cannot be decoded" in left_out[0].reason


def test_audio_only_corpus_builds_with_its_official_parts(built: Workspace, tmp_path: Path) -> None:
    rows = []
    for clip in sorted((built.folder / "data/sample").glob("*/*.mp4")):
        speaker, emotion, _ = clip.stem.split("_")
        if probe(clip).has_audio:
            sound = write_media(tmp_path / f"{clip.stem}.wav", sound=read_audio(clip, rate_hz=16000))
            part = {"s01": "test", "s02": "dev"}.get(speaker, "train")
            rows.append({"path": sound.name, "emotion": emotion, "speaker": speaker, "split": part})
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    params = {
        "corpora": {"heard": {"adapter": "csv", "root": str(tmp_path)}},
        "protocols": {"parts": {"kind": "official"}},
    }
    gone = ["corpora.sample", "render.sample", "protocols.speaker_folds", "protocols.random"]
    with built.changed_params(params, removing=gone):
        built.repro("evaluate")
    metrics = json.loads((built.folder / "results/evaluation.json").read_text())
    assert metrics["protocols"].keys() == {"parts"}
    assert metrics["protocols"]["parts"].keys() >= {"acoustic", "fused"}
    assert "visual" not in metrics["protocols"]["parts"]
    assert metrics["protocols"]["parts"]["clips"] == sum(row["split"] == "test" for row in rows)
    assert metrics["protocols"]["parts"]["speakers_shared"] is False
