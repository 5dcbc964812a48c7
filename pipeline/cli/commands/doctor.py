"""Check everything."""

import typer
from rich.markup import escape

from pipeline.cli.console import console


def doctor() -> None:
    """Check environment, parameters, weights, corpora and protocols: what is there, what is missing, what to do."""
    from pipeline.cli.doctor import run_checks

    signs = {"ok": "[green]ok[/green]   ", "note": "[yellow]note[/yellow] ", "fault": "[red]FAULT[/red]"}
    faults = 0
    for check in run_checks():
        faults += check.state == "fault"
        line = f"{signs[check.state]} [bold]{escape(check.subject)}[/bold]: {escape(check.finding)}"
        console.print(line, highlight=False, soft_wrap=True)
    if faults:
        raise typer.Exit(1)
