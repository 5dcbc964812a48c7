"""Say what emotion clips show."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pipeline.base.errors import exit_with_message
from pipeline.cli.console import console

if TYPE_CHECKING:
    from pipeline.parallel.pool import ExecutionConfig
    from pipeline.predict.predictor import Answer, Predictor


def predict(
    clips: Annotated[list[str], typer.Argument(help="Files, folders, or patterns in quotes.")],
    model: Annotated[Path, typer.Option(help="A head that `dvc repro` has trained.")] = Path("models/head.safetensors"),
    as_json: Annotated[str, typer.Option("--json", help="Write the answers to this file; - is the terminal.")] = "",
    csv: Annotated[Path | None, typer.Option(help="Write a line for every clip and modality to this file.")] = None,
    explain: Annotated[Path | None, typer.Option(help="Draw into this folder what each answer rests on.")] = None,
) -> None:
    """Say what emotion clips show, by the steps and the settings that the head was trained with.

    The exit status is 1 if a clip has no answer.
    """
    with exit_with_message():
        from pipeline.base.files import write_text
        from pipeline.predict import predictor as library
        from pipeline.predict.explanation import draw_answers

        paths = library.media_files(clips)
        predictor = library.Predictor(model, run=_run_of(len(paths)))
        with predictor.evidence(paths) as evidence:
            answers = predictor.answer(evidence)
            drawn = draw_answers(predictor, evidence, answers, explain) if explain else []
        text = json.dumps([answer.as_json() for answer in answers], indent=2)
        if as_json == "-":
            typer.echo(text)
        else:
            _show_answers(predictor, answers)
            if as_json:
                write_text(Path(as_json), text + "\n")
        if csv:
            write_text(csv, library.as_csv(answers, predictor.card.classes))
        for path in drawn:
            console.print(f"drawn: {path}", markup=False, highlight=False, soft_wrap=True)
    if not all(answer.probabilities for answer in answers):
        raise typer.Exit(1)


FEW = 8  # clips that are computed here: to start workers would take longer


def _run_of(clips: int) -> "ExecutionConfig":
    """Return how to run: as params.yaml says where there is one, but for a few clips."""
    from pipeline.base.params import PARAMS_FILE, read_section
    from pipeline.parallel.pool import ExecutionConfig

    run = read_section("run", ExecutionConfig) if PARAMS_FILE.is_file() else ExecutionConfig()
    return run.model_copy(update={"scheduler": "synchronous"}) if clips <= FEW else run


def _show_answers(predictor: "Predictor", answers: "Sequence[Answer]") -> None:
    table = Table("clip", "emotion", title="Probabilities, in %", title_justify="left")
    for column in ("fused", "visual", "acoustic"):
        table.add_column(column, justify="right")
    for answer in answers:
        name = escape(str(answer.path))
        fused = answer.probabilities.get("fused", {})
        ranked = sorted(fused, key=lambda emotion: -fused[emotion])
        for emotion in ranked if len(answers) <= FEW else ranked[:1]:
            values = [answer.probabilities.get(kind, {}).get(emotion) for kind in ("fused", "visual", "acoustic")]
            style = "bold" if emotion == answer.emotion else ""
            cells = ("–" if it is None else f"{100 * it:.1f}" for it in values)
            table.add_row(name if emotion == answer.emotion else "", emotion, *cells, style=style)
        if not fused:
            table.add_row(name, "no answer")
        table.add_section()
    console.print(table)
    for answer in answers:
        for note in answer.notes:
            console.print(f"{answer.path}: {note}", markup=False, highlight=False, soft_wrap=True)
    for row in predictor.expected:
        if row.modality == "fused":
            low, high = row.uar_interval
            told = f"UAR {100 * row.uar:.1f} % (95 %: {100 * low:.1f} to {100 * high:.1f}), {row.protocol}"
            console.print(f"To be expected of this head: {told}", highlight=False, soft_wrap=True)
    if predictor.random:
        console.print("Warning: random backbone weights: these answers mean nothing.", style="bold yellow")
