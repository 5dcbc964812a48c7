"""Check whether the pipeline can run."""

from itertools import chain
from typing import Annotated

import typer

from pipeline.cli.console import console, plain


def doctor(
    verify: Annotated[
        bool, typer.Option("--verify", help="Also read all media, and compare them with published checksums.")
    ] = False,
) -> None:
    """Check environment, parameters, weights, corpora and protocols, and say how to fix what is wrong."""
    from pipeline.base.errors import exit_with_message
    from pipeline.cli.checks import run_checks
    from pipeline.cli.verification import verify_media

    labels = {"ok": "[green]ok[/green]   ", "note": "[yellow]note[/yellow] ", "fault": "[red]FAULT[/red]"}
    faults = 0
    with exit_with_message():
        for check in chain(run_checks(), verify_media() if verify else ()):
            faults += check.state == "fault"
            line = f"{labels[check.state]} [bold]{plain(check.subject)}[/bold]: {plain(check.message)}"
            console.print(line, highlight=False, soft_wrap=True)
    if faults:
        raise typer.Exit(1)
