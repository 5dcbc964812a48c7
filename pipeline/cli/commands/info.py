"""Describe a data file, or show the results."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipeline.base.errors import exit_with_message
from pipeline.base.selection import count_noun
from pipeline.cli.console import console, plain

RESULTS = Path("results")


def info(
    path: Annotated[
        Path | None, typer.Argument(help="An HDF5 file of this pipeline; by default, show the results.")
    ] = None,
) -> None:
    """Show the results of the last `dvc repro`, or what a data file contains and what made it."""
    with exit_with_message():
        if path is None:
            _show_results()
        else:
            _show_file(path)


def _show_results() -> None:
    from pipeline.evaluation.results import describe_clusters, headline
    from pipeline.evaluation.schemas import Evaluation

    evaluation = Evaluation.read(RESULTS / "evaluation.json")
    lost = "".join(
        f", {len(reasons)} without {modality}" for modality, reasons in evaluation.lost_modalities.items() if reasons
    )
    title = f"{count_noun(evaluation.clips, 'clip')}, {len(evaluation.left_out)} left out{lost}; test results, in %"
    table = Table("protocol", "modality", title=title, title_justify="left")
    for column in ("WAR", "UAR", "95 % interval of UAR"):
        table.add_column(column, justify="right")
    table.add_column("over")
    table.add_column("baseline UAR", justify="right")
    for row in headline(evaluation):
        low, high = row.uar_interval
        scores = f"{100 * row.war:.1f}", f"{100 * row.uar:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"
        table.add_row(plain(row.protocol), row.modality, *scores, f"{row.cluster}s", f"{100 * row.baseline_uar:.1f}")
    console.print(table)
    console.print(f"Intervals count {plain(describe_clusters(evaluation))}.", highlight=False)
    if evaluation.warning is not None:
        console.print(f"Warning: {plain(evaluation.warning)}.", style="bold yellow", highlight=False)
    console.print(f"Report: {plain((RESULTS / 'report.html').resolve())}", highlight=False, soft_wrap=True)


def _show_file(path: Path) -> None:
    from pipeline.store.reader import describe

    for name, value in describe(path).items():
        console.print(f"[bold]{plain(name)}[/bold]: {plain(value)}", highlight=False, soft_wrap=True)
