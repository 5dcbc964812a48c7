"""Describe a data file, or show the results."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pipeline.base.errors import StoreError, exit_with_message
from pipeline.cli.console import console

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
    from pipeline.evaluation.results import headline

    path = RESULTS / "evaluation.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        title = f"{metrics['clips']} clips, {len(metrics['left_out'])} left out; test results, in %"
        rows = headline(metrics)
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist; run: dvc repro") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged or was written by another version ({error!r}); run: dvc repro --force evaluate"
        ) from error
    table = Table("protocol", "modality", title=title, title_justify="left")
    for column in ("WAR", "UAR", "95 % interval of UAR", "baseline UAR"):
        table.add_column(column, justify="right")
    for row in rows:
        low, high = row["uar_interval"]
        cells = [
            f"{100 * row['war']:.1f}",
            f"{100 * row['uar']:.1f}",
            f"{100 * low:.1f} to {100 * high:.1f}",
        ]
        table.add_row(escape(row["protocol"]), row["modality"], *cells, f"{100 * row['baseline_uar']:.1f}")
    console.print(table)
    if "warning" in metrics:
        console.print(f"Warning: {metrics['warning']}.", style="bold yellow", highlight=False)
    console.print(f"Report: {(RESULTS / 'report.html').resolve()}", highlight=False, soft_wrap=True, markup=False)


def _show_file(path: Path) -> None:
    from pipeline.store.reader import describe

    for name, value in describe(path).items():
        console.print(f"[bold]{escape(name)}[/bold]: {escape(str(value))}", highlight=False, soft_wrap=True)
