"""The command `fdan`."""

from importlib import metadata
from typing import Annotated

import typer

from pipeline.commands import weights
from pipeline.commands.ablate import ablate
from pipeline.commands.configure import configure
from pipeline.commands.doctor import doctor
from pipeline.commands.info import info
from pipeline.commands.memo import memo
from pipeline.commands.predict import predict
from pipeline.processes import collect_rarely

app = typer.Typer(no_args_is_help=True, help="Audio-visual speech emotion recognition on cached embeddings.")
for command in (info, configure, doctor, ablate, predict, memo):
    app.command()(command)
app.add_typer(weights.app, name="weights")


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fdan {metadata.version('fdan')}")
        raise typer.Exit


@app.callback()
def fdan(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say the version and leave.")
    ] = False,
) -> None:
    """Audio-visual speech emotion recognition on cached embeddings."""


def main() -> None:
    """Run the command line."""
    collect_rarely()
    app()
