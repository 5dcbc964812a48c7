"""Predictions on new clips: with the settings of the head's training, from the modalities that a clip has."""

import csv
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import assert_one_line, write_media, write_short_media
from typer.testing import CliRunner

from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ParameterError, PipelineError
from pipeline.base.provenance import RANDOM_WEIGHTS
from pipeline.cli.main import app
from pipeline.embeddings.backbones import BackboneConfig, describe_weights
from pipeline.faces.crops import FacesConfig
from pipeline.heads.contract import HeadConfig, Shapes
from pipeline.heads.table import HEADS
from pipeline.parallel.pool import ExecutionConfig
from pipeline.predict.explanation import probabilities_over_time
from pipeline.predict.media_files import list_media
from pipeline.predict.predictor import Predictor
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.store.attributes import Upstream
from pipeline.training.checkpoints import Card, TrainedOn, TrainedPart, save_head
from pipeline.training.recipe import TrainConfig

pytestmark = pytest.mark.slow

CLASSES = ("anger", "fear", "neutral")
BACKBONE = BackboneConfig(backbone="resnet18", weights="random", size_px=32)
FACES = FacesConfig(detector="cascade", frames_per_clip=3, no_face="whole_frame", size_px=32)
WINDOWS = SpectrogramsConfig(rate_hz=8000, fmax_hz=4000, fft_samples=256, bands=16, window_s=0.2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained head with its settings; faces are whole frames, so clips of noise will do."""
    return write_model(tmp_path_factory.mktemp("model") / "head.safetensors")


def write_model(
    path: Path,
    *,
    faces: FacesConfig = FACES,
    backbone: BackboneConfig = BACKBONE,
    sha256: str = "",
    temperatures: Mapping[str, float] | None = None,
    **trained: Any,
) -> Path:
    weights = {"name": "random", "sha256": sha256 or describe_weights(BACKBONE)["sha256"]}
    common: dict[str, Any] = {"config": backbone.model_dump(), "weights": weights, "fingerprint": "another"}
    common |= {"failures": {}, "version": ""}
    card = Card(
        head=HeadConfig(width=8),
        alignment=AlignmentConfig(),
        train=TrainConfig(),
        classes=CLASSES,
        shapes=Shapes(512, 512, 3),
        embeddings={
            modality: TrainedOn(**common, upstream=Upstream(config=config.model_dump(), fingerprint="", version=""))
            for modality, config in (("visual", faces), ("acoustic", WINDOWS))
        },
        libraries={},
        trained=TrainedPart(**{"seed": 0, "clips": 3, "visual": 2, "acoustic": 2, "media": ""} | trained),
        temperatures=dict(temperatures or {}),
    )
    torch.manual_seed(0)
    save_head(HEADS["fdan"](card.head, card.shapes), card, path)
    return path


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with a video with audio, a silent video, an audio file, and a file that is neither."""
    folder = tmp_path / "clips"
    write_short_media(folder / "a_both.mp4")
    write_short_media(folder / "b_mute.mp4", sound=False)
    write_short_media(folder / "c_voice.wav")
    (folder / "d_broken.mp4").write_bytes(b"no film")
    (folder / "notes.txt").write_text("not media")
    return folder


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_a_clip_is_predicted_from_the_modalities_it_has(model: Path, clips: Path) -> None:
    both, mute, voice, broken = Predictor(model)(sorted(clips.glob("*_*")))
    assert set(both.probabilities) == {"visual", "acoustic", "fused"}
    assert both.notes == []
    for prediction, kind, note in (
        (mute, "visual", "has no audio: predicted from the face alone"),
        (voice, "acoustic", "has no video: predicted from the audio alone"),
    ):
        assert set(prediction.probabilities) == {kind, "fused"}
        assert prediction.probabilities["fused"] == pytest.approx(prediction.probabilities[kind], abs=1e-6)
        assert prediction.notes == [note]
    assert (broken.probabilities, broken.emotion) == ({}, "")
    assert "cannot be decoded" in broken.notes[0]
    for prediction in (both, mute, voice):
        assert list(prediction.probabilities["fused"]) == list(CLASSES)
        assert sum(prediction.probabilities["fused"].values()) == pytest.approx(1)


def test_a_file_that_is_cut_short_is_predicted_with_a_note(model: Path, tmp_path: Path) -> None:
    path = write_short_media(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:9000])
    (prediction,) = Predictor(model)([path])
    assert prediction.notes[0] == "is cut short: 0.09 of 0.20 s can be decoded"
    assert prediction.emotion


def test_a_head_answers_at_its_temperatures(model: Path, clips: Path, tmp_path: Path) -> None:
    warm = write_model(tmp_path / "h.safetensors", temperatures={"fused": 2.0})
    before, after = (Predictor(it)([clips / "a_both.mp4"])[0].probabilities for it in (model, warm))
    roots = {name: value**0.5 for name, value in before["fused"].items()}
    expected = {name: value / sum(roots.values()) for name, value in roots.items()}
    assert after["fused"] == pytest.approx(expected, abs=1e-6)
    assert after["visual"] == before["visual"]  # which has no temperature


def test_a_prediction_does_not_depend_on_other_clips_or_the_memo(model: Path, clips: Path) -> None:
    together = Predictor(model)([clips / "a_both.mp4", clips / "c_voice.wav"])
    alone = Predictor(model)([clips / "a_both.mp4"])  # from the memo
    assert alone[0].probabilities["fused"] == pytest.approx(together[0].probabilities["fused"], abs=1e-6)


def test_a_video_without_a_face_is_predicted_from_its_sound(tmp_path: Path, clips: Path) -> None:
    strict = write_model(tmp_path / "h.safetensors", faces=FACES.model_copy(update={"no_face": "drop_visual"}))
    (prediction,) = Predictor(strict)([clips / "a_both.mp4"])
    assert set(prediction.probabilities) == {"acoustic", "fused"}
    assert prediction.notes == ["no face was found", "predicted from the audio alone"]


def test_a_branch_that_was_never_trained_gives_no_answer(tmp_path: Path, clips: Path) -> None:
    speech = write_model(tmp_path / "h.safetensors", visual=0)
    both, mute, voice = Predictor(speech)([clips / "a_both.mp4", clips / "b_mute.mp4", clips / "c_voice.wav"])
    assert set(both.probabilities) == set(voice.probabilities) == {"acoustic", "fused"}
    assert both.probabilities["fused"] == pytest.approx(both.probabilities["acoustic"], abs=1e-6)
    unused = "its video is not used: the head was trained on none"
    assert both.notes == [unused, "predicted from the audio alone"]
    assert (mute.probabilities, mute.notes) == ({}, [unused])
    assert [it.modalities for it in (both, mute, voice)] == [("acoustic",), (), ("acoustic",)]


def test_a_recording_that_the_head_was_trained_on_is_named(tmp_path: Path, clips: Path) -> None:
    digits = "".join(
        hashlib.sha256((clips / name).read_bytes()).hexdigest()[:12] for name in ("a_both.mp4", "notes.txt")
    )
    model = write_model(tmp_path / "h.safetensors", media=digits)
    both, voice = Predictor(model)([clips / "a_both.mp4", clips / "c_voice.wav"])
    assert both.notes == ["the head was trained on this recording"]
    assert voice.notes == ["has no video: predicted from the audio alone"]


def test_a_file_beyond_the_limits_has_a_note_and_no_prediction(model: Path, clips: Path) -> None:
    run = ExecutionConfig(scheduler="synchronous", max_pixels=256)
    (prediction,) = Predictor(model, run=run)([clips / "a_both.mp4"])
    assert not prediction.probabilities
    assert prediction.notes == ["its picture of 32 x 32 pixels is larger than run.max_pixels = 256 allows"]


def test_the_settings_come_from_the_model_and_not_from_params(
    model: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Predictor(model)([clips / "a_both.mp4"])
    (tmp_path / "params.yaml").write_text("spectrograms: {bands: 64}\nfaces: {frames_per_clip: 9}\n")
    monkeypatch.chdir(tmp_path)
    predictor = Predictor(model)
    with predictor.extract([clips / "a_both.mp4"]) as inputs:
        assert len(inputs.faces[str(clips / "a_both.mp4")].times) == FACES.frames_per_clip
        assert inputs.windows[str(clips / "a_both.mp4")].windows[0].shape[1] == WINDOWS.bands
        assert predictor.predict(inputs) == expected


def test_other_code_than_in_training_is_a_warning(model: Path, clips: Path, caplog: pytest.LogCaptureFixture) -> None:
    Predictor(model)([clips / "a_both.mp4"])
    assert "its visual embeddings were made by other code, libraries or hardware" in caplog.text


def test_other_weights_than_in_training_are_refused(tmp_path: Path, clips: Path) -> None:
    foreign = write_model(tmp_path / "h.safetensors", sha256="0" * 64)
    with pytest.raises(PipelineError, match=r"the weights 'random' of the visual backbone are not those"):
        Predictor(foreign)([clips / "a_both.mp4"])


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"faces": FACES.model_copy(update={"weights": "/etc/passwd"})}, "visual.weights"),
        ({"faces": FACES.model_copy(update={"detector": "precomputed", "boxes": "//host/share"})}, "visual.boxes"),
        ({"faces": FACES.model_copy(update={"landmark_weights": "../a\nb"})}, "visual.landmark_weights"),
        ({"backbone": BACKBONE.model_copy(update={"weights": "https://host/w.pth"})}, "visual.weights"),
    ],
)
def test_files_that_a_head_names_are_read_only_if_the_user_allows_it(
    settings: dict[str, Any], key: str, tmp_path: Path
) -> None:
    foreign = write_model(tmp_path / "h.safetensors", **settings)
    with pytest.raises(ParameterError) as error:
        Predictor(foreign)
    assert_one_line(str(error.value))
    (config,) = settings.values()
    path = getattr(config, key.partition(".")[2])
    assert f"h.safetensors, {key} = {path!r} is a file that the head asks to read" in str(error.value)
    result = run(tmp_path, "--model", foreign, "--allow-file", path)
    assert "this folder holds no media file" in result.output
    assert Predictor(foreign, allow=[path]).model == foreign


@pytest.mark.parametrize("part", ["detector", "backbone"])
def test_plugins_that_a_head_names_run_only_if_the_user_allows_it(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = f"strangers_{part}"
    (tmp_path / "plugins").mkdir()
    (tmp_path / f"plugins/{module}.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    named = {part: f"{module}:build"}
    faces, backbone = FACES.model_copy(update=named), BACKBONE.model_copy(update=named)
    write_model(tmp_path / "h.safetensors", **{"faces": faces} if part == "detector" else {"backbone": backbone})
    write_short_media(tmp_path / "clip.mp4")
    result = run("clip.mp4", "--model", "h.safetensors")
    assert result.exit_code == 1
    assert f"{part} '{module}:build' is not built in; to run this code" in str(result.exception)
    assert not Path("imported").exists()
    result = run("clip.mp4", "--model", "h.safetensors", "--allow-plugin", f"{module}:build")
    assert Path("imported").exists()
    assert f"{module} has no function 'build'" in str(result.exception)


def test_files_folders_and_patterns_list_each_clip_once(clips: Path) -> None:
    files = list_media([str(clips / "c_voice.wav"), str(clips), str(clips / "*.wav")])
    assert [path.name for path in files] == ["c_voice.wav", "a_both.mp4", "b_mute.mp4", "d_broken.mp4"]
    for wrong, words in ((clips / "*.flac", "no such file"), (clips.parent / "nothing.mp4", "no such file")):
        with pytest.raises(ParameterError, match=words):
            list_media([str(wrong)])
    (clips.parent / "empty").mkdir()
    with pytest.raises(ParameterError, match="this folder holds no media file"):
        list_media([str(clips.parent / "empty")])


def test_name_of_a_file_is_one_even_if_it_looks_like_a_pattern_or_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["clip [1].flv", "take1:angry.mp4", "http:/host/a.mp4", "a*.mp4", "-a.mp4", "..x/a.mp4", "x" * 251 + ".mp4"]
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    for name in names:
        assert list_media([name]) == [Path(name)]
    assert {str(path) for path in list_media(["."])} == set(names)
    assert list_media(["clip *.flv"]) == [Path("clip [1].flv")]
    for wrong in ("", "x" * 300, "a\0b", "**x", "x" * 300 + "/*.mp4"):
        with pytest.raises(ParameterError, match="no such file"):
            list_media([wrong])


def test_odd_files_are_rows_with_a_reason(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    os.mkfifo(folder / "a.wav")
    (folder / "b.wav").symlink_to("/dev/zero")
    (folder / "c.wav").symlink_to("gone.wav")
    (folder / os.fsdecode(b"d\xe9.wav")).touch()
    (folder / "e.wav").touch()
    (folder / "f.wav").symlink_to(folder, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    result = run("odd", "--model", model, "--json", "a.json", "--csv", "a.csv")
    assert result.exit_code == 1
    expected = {
        "odd/a.wav": ["not a regular file"],
        "odd/b.wav": ["not a regular file"],
        "odd/c.wav": ["a broken link"],
        "odd/d\\udce9.wav": ["its name is not UTF-8; rename it"],
        "odd/e.wav": ["zero bytes"],
    }
    assert {row["clip"]: row["notes"] for row in json.loads(Path("a.json").read_text())} == expected
    with Path("a.csv").open(encoding="utf-8", newline="") as file:
        assert {row["clip"]: [row["notes"]] for row in csv.DictReader(file)} == expected
    assert all(line.isprintable() for line in result.output.split("\n"))


def test_a_file_that_cannot_be_probed_in_time_or_at_all_is_a_row(
    model: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck_or_broken(path: Path, **_: Any) -> Any:
        if path.suffix == ".wav":
            raise LookupError("\x1b an odd thing")
        time.sleep(60)

    monkeypatch.setattr("data_manifest.corpora.probing.probe_arrays", stuck_or_broken)
    run_config = ExecutionConfig(scheduler="synchronous", clip_timeout_s=0.2)
    slow, broken = Predictor(model, run=run_config)([clips / "b_mute.mp4", clips / "c_voice.wav"])
    assert slow.notes == ["took longer than run.clip_timeout_s = 0.2 s"]
    assert broken.notes == ["LookupError: \\x1b an odd thing"]


def test_odd_names_are_predicted_explained_and_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["=1+1:\x1b[31m\n$\\x$.wav", "x" * 251 + ".wav"]
    for name in names:
        write_short_media(Path("short.wav")).rename(name)
    result = run(*names, "--model", model, "--json", "a.json", "--csv", "a.csv", "--explain", "why")
    assert result.exit_code == 0
    assert all(line.isprintable() for line in result.output.split("\n"))
    assert [row["clip"] for row in json.loads(Path("a.json").read_text())] == names
    with Path("a.csv").open(encoding="utf-8", newline="") as file:
        assert {row["clip"] for row in csv.DictReader(file)} == {f"'{names[0]}", names[1]}
    figures = sorted(path.name for path in Path("why").glob("*.png"))
    assert figures == ["000-_1_1___31m___x_.png", f"001-{'x' * 50}.png"]


def test_the_command_writes_predictions_and_fails_if_one_is_missing(model: Path, clips: Path, tmp_path: Path) -> None:
    written = tmp_path / "answers.json", tmp_path / "answers.csv"
    result = run(clips, "--model", model, "--json", written[0], "--csv", written[1])
    assert result.exit_code == 1  # for the broken one
    assert RANDOM_WEIGHTS in result.stdout
    saved = json.loads(written[0].read_text())
    assert [Path(row["clip"]).name for row in saved] == [
        "a_both.mp4",
        "b_mute.mp4",
        "c_voice.wav",
        "d_broken.mp4",
    ]
    with written[1].open() as file:
        rows = list(csv.DictReader(file))
    kinds = [(Path(row["clip"]).name[0], row["modality"]) for row in rows]
    assert kinds[:3] == [("a", "visual"), ("a", "acoustic"), ("a", "fused")]
    assert kinds[-1] == ("d", "")
    assert float(rows[2]["p_fear"]) == pytest.approx(saved[0]["probabilities"]["fused"]["fear"], abs=1e-6)
    assert f"{100 * float(rows[2]['p_fear']):.1f}" in result.stdout


def test_json_on_the_terminal_is_only_json(model: Path, clips: Path) -> None:
    result = run(clips / "a_both.mp4", "--model", model, "--json", "-")
    assert result.exit_code == 0
    assert json.loads(result.stdout)[0]["emotion"] in CLASSES


def test_a_missing_model_is_one_line(clips: Path, tmp_path: Path) -> None:
    result = run(clips, "--model", tmp_path / "none.safetensors")
    assert result.exit_code == 1
    assert "none.safetensors does not exist; run: dvc repro train" in str(result.exception.args[0])


def test_explain_draws_a_figure_for_each_prediction(model: Path, clips: Path, tmp_path: Path) -> None:
    result = run(clips, "--model", model, "--explain", tmp_path / "why")
    figures = sorted(path.name for path in (tmp_path / "why").glob("*.png"))
    assert figures == ["000-a_both.png", "001-b_mute.png", "002-c_voice.png"]
    assert all(name in result.stdout for name in figures)
    assert all((tmp_path / "why" / name).read_bytes().startswith(b"\x89PNG") for name in figures)


def test_probabilities_over_time_use_nearby_tokens_only(model: Path, tmp_path: Path) -> None:
    # Three seconds: bright, then dark.
    bright, dark = (np.full((25, 32, 32, 3), level, np.uint8) for level in (220, 20))
    bright[:, :16] -= 60
    long = write_media(tmp_path / "long.mp4", frames=np.concatenate([bright, dark, dark]))
    predictor = Predictor(model)
    with predictor.extract([long]) as inputs:
        (whole,) = predictor.predict(inputs)
        clip = [it.batches(torch.tensor([0])) for it in (inputs.examples.visual, inputs.examples.acoustic)]
        times, probabilities = probabilities_over_time(predictor, *clip)
    warm = Predictor(write_model(tmp_path / "h.safetensors", temperatures={"fused": 2.0}))
    expected = np.sqrt(probabilities)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities_over_time(warm, *clip)[1], expected, atol=1e-6)
    assert times.min() >= 0 and times.max() <= 3
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert np.abs(probabilities[0] - probabilities[-1]).max() > 1e-6  # they change with the frames
    assert np.abs(probabilities[0] - list(whole.probabilities["fused"].values())).max() > 1e-6


def test_a_damaged_file_beside_the_head_is_an_error_before_the_work(model: Path, clips: Path) -> None:
    model.with_suffix(".json").write_text("x")
    result = run(clips / "c_voice.wav", "--model", model)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: {model.with_suffix('.json')} is damaged")


def test_a_name_that_is_too_long_for_a_head_is_one_line(clips: Path) -> None:
    result = run(clips / "c_voice.wav", "--model", "h" * 300)
    assert result.output == f"error: {'h' * 300} does not exist; run: dvc repro train\n"
