"""Check a part of a user's own."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.base.errors import exit_with_message
from pipeline.cli.console import console, plain

if TYPE_CHECKING:
    from pipeline.checking.arguments import Request
    from pipeline.checking.reports import CheckReport


def check(
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="The part, as in params.yaml: faces.detector=my_detector:build. More keys of its section may follow.",
        ),
    ],
) -> None:
    """Check a detector, spectrogram, backbone, head, alignment or adapter on a few clips, as its stage does.

    Compares its time with that of the current part, and draws what both give. Changes neither params.yaml nor data.
    """
    with exit_with_message():
        from pipeline.checking.arguments import parse_request

        request = parse_request(settings)
        # After the arguments are checked: these imports take seconds.
        from pipeline.checking.run import run_check

        show_report(run_check(request), request)


def show_report(report: "CheckReport", request: "Request") -> None:
    """Print what was measured."""
    lines = [f"{report.part} keeps its contract on {report.data}"]
    lines.append("time per " + report.unit + ": " + "; ".join(f"{name} {ms:.3g} ms" for name, ms in report.ms.items()))
    lines += [f"note: {note}" for note in report.notes]
    lines.append(f"picture: {report.picture}")
    lines.append(f"Next: set {request.key} in params.yaml, then dvc repro")
    for line in lines:
        console.print(plain(line), highlight=False, soft_wrap=True)
