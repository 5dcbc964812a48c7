"""What the stage `report` reads and writes: a file that is missing or damaged, or a full disk, is one line."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from report_samples import CLASSES, png, predictions

import stages.report
from pipeline.base.errors import StoreError, exit_with_message
from pipeline.evaluation.predictions import write_confusion, write_predictions
from pipeline.evaluation.schemas import Evaluation
from pipeline.report.page import FIGURE_STAGES, read_figures
from pipeline.report.thumbnails import Thumbnails, figure_uri
from pipeline.store.clips import ClipFaces, ClipWindows
from pipeline.store.columns import Ragged, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES, WINDOWS
from pipeline.store.writer import open_writer
from pipeline.training._epoch import Epoch
from pipeline.training.curves import Curves, write_curves

EPOCH = Epoch(epoch=1, cross_entropy=1.5, alignment=(-0.25, 0.5), validation_uar=0.5)


def test_report_without_results_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"^results/evaluation\.json does not exist; run: dvc repro$"):
        stages.report.main()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "can't decode byte"),
        (b"[" * 100_000, "maximum recursion depth"),
        (b"1" * 5000, "Exceeds the limit"),
        (b"", "Expecting value"),
    ],
)
def test_damaged_results_are_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "evaluation.json").write_bytes(content)
    with pytest.raises(StoreError, match=rf"evaluation\.json is damaged or of another version \(.*{words}"):
        Evaluation.read(tmp_path / "evaluation.json")


def test_results_that_are_a_pipe_are_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "evaluation.json")
    with pytest.raises(StoreError, match=r"evaluation\.json cannot be read: not a regular file; run: dvc repro$"):
        Evaluation.read(tmp_path / "evaluation.json")


def test_missing_figure_names_the_stage_that_draws_it(tmp_path: Path) -> None:
    for name, stage in FIGURE_STAGES.items():
        (tmp_path / stage).mkdir(exist_ok=True)
        (tmp_path / stage / f"{name}.png").write_bytes(b"x")
    assert read_figures(tmp_path, ["visual", "acoustic"]).keys() == FIGURE_STAGES.keys()
    (tmp_path / "faces/faces.png").unlink()
    with pytest.raises(StoreError, match=r"faces\.png does not exist; run: dvc repro --force faces$"):
        read_figures(tmp_path, ["visual", "acoustic"])
    assert read_figures(tmp_path, ["acoustic"]).keys() == FIGURE_STAGES.keys() - {"faces", "attention"}


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"GIF89a\1\0\1\0\0\0\0;", png()[:60]])
def test_damaged_picture_is_one_line(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(StoreError, match="is not a valid PNG image"):
        figure_uri(data)
    crops = Ragged.join([np.frombuffer(data or b"x", np.uint8)])
    faces = ClipFaces(
        times=np.zeros(1, np.float32),
        boxes=np.zeros((1, 5), np.float32),
        face_counts=np.zeros(1, np.int32),
        sources=np.zeros(1, np.uint8),
        leads=np.zeros(1, np.float32),
        angles=np.zeros(1, np.float32),
        crops=crops,
    )
    for name, schema, columns in (
        ("faces.h5", FACES, to_columns(faces)),
        ("spectrograms.h5", WINDOWS, to_columns(ClipWindows.empty(8))),
    ):
        with open_writer(tmp_path / name, like=columns, attributes={"schema": schema.name}) as writer:
            writer.append("a", columns)
    thumbnails = Thumbnails(
        Reader(tmp_path / "faces.h5", schema=FACES), Reader(tmp_path / "spectrograms.h5", schema=WINDOWS)
    )
    with pytest.raises(StoreError, match="is not a valid JPEG image"):
        thumbnails.face("a", 8)


def test_curves_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_curves(tmp_path, {"=folds-0-0": [EPOCH, EPOCH], "random-0-0": [EPOCH]})
    (run,) = Curves.read(tmp_path / "runs.csv", "=folds").runs.values()
    assert [row["epoch"] for row in run] == [1, 2]
    assert (run[0]["alignment_1"], run[0]["cross_entropy"]) == (-0.25, 1.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not exist"),
        ("run,epoch\nfolds-0-0,x\n", "line 2: could not convert string to float: 'x'"),
        ("run,epoch\nrandom-0-0,1\n", "has no run of 'folds'"),
        ("", "has no run of 'folds'"),
    ],
)
def test_wrong_curves_are_one_line(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(StoreError, match=rf"runs\.csv.*{words}; run: dvc repro --force --single-item train$"):
        Curves.read(tmp_path / "runs.csv", "folds")


def test_full_disk_names_the_folder_of_the_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dvclive.live.Live.log_metric", fail)
    with pytest.raises(SystemExit, match=r"/curves cannot be written: No space left on device"), exit_with_message():
        write_curves(tmp_path / "curves", {"folds-0-0": [EPOCH]})


def test_tables_of_predictions_are_harmless_in_a_spreadsheet(tmp_path: Path) -> None:
    rows = predictions()
    object.__setattr__(rows[0], "clip_id", '=HYPERLINK("http://host")')
    write_predictions(tmp_path / "predictions.csv", rows, CLASSES)
    write_confusion(tmp_path / "confusion.csv", rows, ["-anger", "fear"])
    assert '"\'=HYPERLINK(""http://host"")"' in (tmp_path / "predictions.csv").read_text()
    assert {line[0] for line in (tmp_path / "confusion.csv").read_text().splitlines()} <= set("t'f")
