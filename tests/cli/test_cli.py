"""The command `fdan`: the table of results, descriptions of files, and one-line errors with exit status 1."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_samples import ablation, evaluation
from typer.testing import CliRunner, Result

from pipeline.base.logs import PrintableFormatter
from pipeline.base.provenance import ROOT
from pipeline.cli.comparison import show_comparison
from pipeline.cli.console import console
from pipeline.cli.main import app
from pipeline.evaluation.ablation_schemas import Ablation
from pipeline.evaluation.predictions import Prediction
from pipeline.store.clips import ClipTokens
from pipeline.store.columns import to_columns
from pipeline.store.writer import open_writer

HEAVY = {"torch", "h5py", "sklearn", "librosa", "av"}


def fdan(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)


def assert_one_line(result: Result, *words: str) -> None:
    """Check that the command failed with a one-line error that contains the words."""
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words)


def write_file(path: Path, **attributes: Any) -> Path:
    """Write a store of two clips with 1 and 2 tokens of width 3."""
    like = to_columns(ClipTokens.empty(3))
    contents = {"schema": "fdan.embeddings/6", "config": {"size_px": 64}, "fingerprint": "cafe", **attributes}
    with open_writer(path, like=like, attributes=contents) as writer:
        for number, clip_id in enumerate(("a", "b"), 1):
            clip = ClipTokens(np.zeros(number, np.float32), np.zeros((number, 3), np.float32))
            writer.append(clip_id, to_columns(clip))
    return path


def write_results(folder: Path, *, name: str = "folds", **changes: Any) -> None:
    """Write the metrics of four clips: predictions are correct on 3 of 4 for the protocol `name`, on all for random."""
    rows = [
        Prediction(
            protocol,
            protocol == "random",
            clip % 2,
            0,
            f"c{clip}",
            f"s{clip}",
            clip // 2,
            {
                "visual": None,
                "acoustic": None,
                "fused": [0.9, 0.1] if clip < predicted_anger else [0.1, 0.9],
                "video_only": None,
                "audio_only": None,
            },
            majority=0,
        )
        for protocol, predicted_anger in ((name, 3), ("random", 2))
        for clip in range(4)
    ]
    left_out = [{"clip_id": "x", "path": "x.mp4", "stage": "corpus", "reason": "is damaged"}]
    results = evaluation(rows, left_out=left_out, **changes)
    results.write(folder / "results" / "evaluation.json")


def table_of(result: Ablation, *, by_validation: bool) -> tuple[list[list[str]], str]:
    """Return the rows of the table that `fdan ablate` prints, and the text below it."""
    with console.capture() as capture:
        show_comparison(result, by_validation=by_validation)
    lines = capture.get().splitlines()
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]
    return rows, " ".join(capture.get().split())


def test_ablation_shows_intervals_first_and_what_the_test_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 200)
    rows, text = table_of(ablation(), by_validation=False)
    assert rows == [
        ["reference", "", "", "", "", "", "", ""],
        ["full", "74.0 (60.0 to 85.0)", "", "", "", "70.0", "0", "0"],
        ["spectrograms", "", "", "", "", "", "", ""],
        ["less", "49.0 (30.0 to 60.0)", "-25.0 (-37.5 to -12.5)", "0.040", "0.080", "72.0", "3", "12"],
    ]
    assert "95 % intervals over 6 speakers; 1 seed" in text
    assert "With 6 speakers, p is at least 0.031, and at least 0.031 after correction for 1 comparison." in text
    assert "Lost clips have no token in a row, and count as wrong." in text
    assert "search" not in text
    once = ablation(training_sets=1, cluster="dialogue", clusters=280)
    assert "over 280 dialogues (one training set was seen)" in table_of(once, by_validation=False)[1]


def many_rows(*names: str, section: str = "faces") -> Ablation:
    """Return a table with rows of one section, the worst on validation parts first."""
    full, less = ablation().rows
    rows = [
        less.model_copy(update={"name": name, "section": section, "validation_uar": 0.5 + number / 100})
        for number, name in enumerate(names)
    ]
    return ablation(rows=[full, *rows])


def test_grid_is_sorted_by_validation_within_its_section_and_calls_a_choice_by_test_a_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(console, "width", 200)
    table = many_rows("a", "b", "c")
    other = table.rows[1].model_copy(update={"name": "d", "section": "head", "validation_uar": 0.9})
    rows, text = table_of(ablation(rows=[*table.rows, other]), by_validation=True)
    assert [row[0] for row in rows] == ["reference", "full", "faces", "c", "b", "a", "head", "d"]
    assert "Picking a row by its test UAR is a search on the test folds" in text


@pytest.mark.parametrize("columns", [80, 120])
def test_names_of_rows_are_whole_in_a_narrow_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", columns)
    start = "faces.detector=my_package.my_detector:build, spectrograms.kind=mfcc, head.options.temperature="
    names = [f"{start}1", f"{start}2", "x" * 70 + "1", "x" * 70 + "2"]
    with console.capture() as capture:
        show_comparison(many_rows(*names), by_validation=False)
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= columns
    first = next(number for number, line in enumerate(lines) if "test UAR" in line)
    width = lines[first].index("test UAR") - 4  # of the column of names
    assert width >= 20
    shown = "".join(line[:width].replace(" ", "") for line in lines[first + 1 :])
    assert all(shown.count(name.replace(" ", "")) == 1 for name in names)
    assert all(words in capture.get() for words in ("-37.5 to -12.5", "0.080", "30.0 to 60.0"))


def test_without_results_info_names_the_command_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(fdan("info"), "evaluation.json does not exist", "run: dvc repro")


def test_info_shows_the_table_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = fdan("info")
    assert result.exit_code == 0
    assert "4 clips, 1 left out; test results, in %" in result.output
    assert "Intervals count 2 folds on folds; 2 folds on random (speakers shared)." in result.output
    cells = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in result.output.splitlines() if "│" in line
    ]
    by_protocol = {row[0]: row[1:] for row in cells}
    folds = by_protocol["folds"]  # anger 2 of 2, fear 1 of 2; the majority baseline is correct on half
    assert (*folds[:3], *folds[4:6]) == ("fused", "75.0", "75.0", "folds", "50.0")
    assert by_protocol["random (speakers shared)"] == ["fused", "100.0", "100.0", "15.8 to 100.0", "folds", "50.0"]
    assert "Warning" not in result.output
    assert f"Report: {tmp_path / 'results' / 'report.html'}" in result.output


def test_info_counts_clips_that_lost_a_modality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(tmp_path, lost_modalities={"visual": {"a": "no face was found", "b": "cut"}, "acoustic": {}})
    monkeypatch.chdir(tmp_path)
    assert "4 clips, 1 left out, 2 without visual; test results, in %" in fdan("info").output


def test_info_repeats_the_warning_of_random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(tmp_path, warning="random backbone weights")
    monkeypatch.chdir(tmp_path)
    assert "Warning: random backbone weights." in fdan("info").output


def test_path_or_name_with_brackets_is_shown_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "[bold]"
    folder.mkdir()
    write_results(folder, name="[red]")
    monkeypatch.chdir(folder)
    output = fdan("info").output
    assert "[red]" in output
    assert f"Report: {folder / 'results' / 'report.html'}" in output


def test_info_describes_a_data_file(tmp_path: Path) -> None:
    weights = {"name": "/m/[v2]/x.pth [/bold]", "sha256": "0"}
    result = fdan("info", str(write_file(tmp_path / "visual.h5", weights=weights)))
    assert result.exit_code == 0
    description = dict(line.split(": ", 1) for line in result.output.splitlines())
    assert description["clips"] == "2"
    assert [description[key] for key in ("schema", "fingerprint", "tokens")] == ["fdan.embeddings/6", "cafe", "3 x 3"]
    assert description["config"] == "{'size_px': 64}"
    assert description["weights"] == str(weights)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_error_for_a_truncated_file_names_the_stage_to_run(tmp_path: Path, share: float) -> None:
    path = write_file(tmp_path / "visual.h5")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    words = "visual.h5 is damaged or not an HDF5 file", "run: dvc repro --force --single-item embed_faces"
    assert_one_line(fdan("info", str(path)), *words)


def test_missing_or_foreign_file_is_a_one_line_error(tmp_path: Path) -> None:
    assert_one_line(fdan("info", str(tmp_path / "faces.h5")), "faces.h5 does not exist", "--single-item faces")
    assert_one_line(fdan("info", str(tmp_path)), f"{tmp_path} is damaged or not an HDF5 file")
    other = write_file(tmp_path / "other.h5", schema="somebody.else/1")
    assert_one_line(fdan("info", str(other)), "other.h5 has the schema 'somebody.else/1'")


def test_help_lists_the_commands() -> None:
    for result in (fdan(), fdan("--help")):
        assert "info" in result.output
    assert fdan("--help").exit_code == 0
    assert fdan("inof").exit_code == 2


@pytest.mark.slow
def test_console_script_fails_with_one_line_on_stderr_and_status_1(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("fdan")
    process = subprocess.run([script, "info"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == "error: results/evaluation.json does not exist; run: dvc repro\n"


@pytest.mark.slow
def test_help_imports_no_heavy_library() -> None:
    code = f"import sys, pipeline.cli.main; sys.exit(bool({HEAVY} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


MISTYPED = [
    ["ablate", "--rows", "ful"],
    ["ablate", "--grid", "head.width"],
    ["ablate", "--grid", "heads.width=8"],
    ["ablate", "--dry-run", "--grid", "manifest.modalities=require"],
    ["check", "faces.detectr=my:build"],
    ["check", "head.name=nowhere:Head"],
    ["new", "detector", "torch"],
]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["predict", "nope.mp4"], ["info"], *MISTYPED])
def test_a_typo_is_answered_before_anything_heavy_is_imported(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("ablations: {full: {}}\n")
    code = f"""
import sys
from pipeline.cli.main import app
try:
    app({arguments})
finally:
    print(sorted({HEAVY} & set(sys.modules)))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"clips": 3, "left_out": []}'])
def test_damaged_results_are_a_one_line_error(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/evaluation.json").write_text(text)
    assert_one_line(fdan("info"), "evaluation.json is damaged or of another version", "run: dvc repro --force evaluate")


def test_text_of_strangers_does_not_control_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\r\u202e[bold]"
    result = fdan("info", str(write_file(tmp_path / "a.h5", **{f"name{evil}": "value"})))
    assert_harmless(result.output, "name")
    result = fdan("info", str(write_file(tmp_path / "b.h5", fingerprint=f"value{evil}")))
    assert_harmless(result.output, "value")
    write_results(tmp_path, name=f"folds{evil}", warning=f"random{evil}")
    monkeypatch.chdir(tmp_path)
    assert_harmless(fdan("info").output, "folds", "random")


def assert_harmless(output: str, *words: str) -> None:
    assert all(line.isprintable() for line in output.split("\n"))
    for word in words:
        assert rf"{word}\x1b]0;owned\x07\x9b31m\r\u202e[bold]" in output


def test_log_lines_of_stages_do_not_control_the_terminal() -> None:
    record = logging.makeLogRecord({"msg": "%s: read\n%d", "args": ("a\x1b[31m\x07.mp4", 1)})
    assert PrintableFormatter().format(record) == "a\\x1b[31m\\x07.mp4: read\n1"


@pytest.mark.slow
def test_a_message_of_a_stage_is_one_line_of_a_log_file() -> None:
    code = """
import logging, stages
stages.run_stage(lambda: logging.getLogger("a").warning("word " * 60))
"""
    environment = os.environ | {"COLUMNS": "80"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stderr == f"WARNING  {'word ' * 60}\n"
