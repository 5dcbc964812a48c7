"""Predict the emotion of clips."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.base.errors import exit_with_message
from pipeline.base.provenance import RANDOM_WEIGHTS
from pipeline.cli.console import console, plain

if TYPE_CHECKING:
    from pipeline.evaluation.schemas import HeadlineRow
    from pipeline.parallel.pool import ExecutionConfig
    from pipeline.predict.predictor import ClipInputs, ClipPrediction, Predictor


def predict(
    clips: Annotated[list[str], typer.Argument(help="Files, folders, or patterns in quotes.")],
    model: Annotated[Path, typer.Option(help="A head trained by `dvc repro`.")] = Path("models/head.safetensors"),
    as_json: Annotated[str, typer.Option("--json", help="Write predictions as JSON to this file; - is stdout.")] = "",
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file, one line per clip and modality.")] = None,
    explain: Annotated[Path | None, typer.Option(help="Write figures that explain predictions to this folder.")] = None,
    allow_plugin: Annotated[
        list[str] | None, typer.Option(help="Code that the head names and may run, as package.module:function.")
    ] = None,
    allow_file: Annotated[list[str] | None, typer.Option(help="A file that the head names and may read.")] = None,
) -> None:
    """Predict the emotion of clips, with the steps and settings that the head was trained with.

    The exit status is 1 if a clip has no prediction.
    """
    with exit_with_message():
        from pipeline.base.files import write_text
        from pipeline.predict.media_files import list_media

        paths = list_media(clips)
        # After the arguments are checked: these imports take seconds.
        from pipeline.predict import predictor as library

        predictor = library.Predictor(
            model, run=_execution_config(len(paths)), allow=[*(allow_plugin or ()), *(allow_file or ())]
        )
        expected = predictor.expected_results  # before the work: its file may be damaged
        with predictor.extract(paths) as inputs:
            answers = predictor.predict(inputs)
            figures = _draw(predictor, inputs, answers, explain) if explain else []
        text = json.dumps([answer.as_json() for answer in answers], indent=2)
        if as_json == "-":
            typer.echo(text)
        else:
            _show_answers(predictor, answers, expected)
            if as_json:
                write_text(Path(as_json), text + "\n")
        if csv:
            write_text(csv, library.to_csv(answers, predictor.card.classes))
        for path in figures:
            console.print(f"figure: {plain(path)}", highlight=False, soft_wrap=True)
    if not all(answer.probabilities for answer in answers):
        raise typer.Exit(1)


# By the modalities that an answer comes from: its names in the table of expected results, and a description. In the
# table of a head of one modality, its answer has the name of the modality.
KINDS = {
    ("visual", "acoustic"): (("fused", "visual", "acoustic"), "answers from both modalities"),
    ("visual",): (("video only", "visual"), "answers from video alone"),
    ("acoustic",): (("audio only", "acoustic"), "answers from audio alone"),
}
FEW = 8  # up to so many clips are computed in this process, because starting workers would take longer


def _execution_config(clips: int) -> "ExecutionConfig":
    """Return the section `run` of params.yaml, if the file exists; a few clips always run without workers."""
    from pipeline.base.params import PARAMS_FILE, read_section
    from pipeline.parallel.pool import ExecutionConfig

    run = read_section("run", ExecutionConfig) if PARAMS_FILE.is_file() else ExecutionConfig()
    return run.model_copy(update={"scheduler": "synchronous"}) if clips <= FEW else run


def _draw(predictor: "Predictor", inputs: "ClipInputs", answers: "list[ClipPrediction]", folder: Path) -> list[Path]:
    from pipeline.predict.explanation import draw_explanations  # imports matplotlib

    return draw_explanations(predictor, inputs, answers, folder)


def _show_answers(
    predictor: "Predictor", answers: "Sequence[ClipPrediction]", expected_results: "Sequence[HeadlineRow]"
) -> None:
    table = Table("clip", "emotion", title="Probabilities, in %", title_justify="left")
    for column in ("fused", "visual", "acoustic"):
        table.add_column(column, justify="right")
    for answer in answers:
        name = plain(answer.path)
        fused = answer.probabilities.get("fused", {})
        ranked = sorted(fused, key=lambda emotion: -fused[emotion])
        for emotion in ranked if len(answers) <= FEW else ranked[:1]:
            values = [
                answer.probabilities.get(modality, {}).get(emotion) for modality in ("fused", "visual", "acoustic")
            ]
            style = "bold" if emotion == answer.emotion else ""
            cells = ("–" if it is None else f"{100 * it:.1f}" for it in values)
            table.add_row(name if emotion == answer.emotion else "", plain(emotion), *cells, style=style)
        if not fused:
            table.add_row(name, "no prediction")
        table.add_section()
    console.print(table)
    for answer in answers:
        for note in answer.notes:
            console.print(plain(f"{answer.path}: {note}"), highlight=False, soft_wrap=True)
    for line in _expectations(answers, expected_results):
        console.print(line, highlight=False, soft_wrap=True)
    if predictor.has_random_weights:
        console.print(f"Warning: {RANDOM_WEIGHTS}.", style="bold yellow")


def _expectations(answers: "Sequence[ClipPrediction]", expected: "Sequence[HeadlineRow]") -> Iterator[str]:
    """Yield a line on what to expect of each kind of answer that was given, by protocol."""
    for modalities in sorted({it.modalities for it in answers if it.modalities}):
        names, description = KINDS[modalities]
        rows = [[row for row in expected if row.modality == name] for name in names]
        for row in next(filter(None, rows), []):
            low, high = row.uar_interval
            interval = f"95 % over {row.cluster}s: {100 * low:.1f} to {100 * high:.1f}"
            yield f"Expected of {description}: UAR {100 * row.uar:.1f} % ({interval}), {plain(row.protocol)}"
