"""Check whether the pipeline can run."""

import typer

from pipeline.cli.console import console, plain


def doctor() -> None:
    """Check environment, parameters, weights, corpora and protocols, and say how to fix what is wrong."""
    from pipeline.cli.checks import run_checks

    labels = {"ok": "[green]ok[/green]   ", "note": "[yellow]note[/yellow] ", "fault": "[red]FAULT[/red]"}
    faults = 0
    for check in run_checks():
        faults += check.state == "fault"
        line = f"{labels[check.state]} [bold]{plain(check.subject)}[/bold]: {plain(check.message)}"
        console.print(line, highlight=False, soft_wrap=True)
    if faults:
        raise typer.Exit(1)
