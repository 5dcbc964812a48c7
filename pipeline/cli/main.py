"""The entry point of `fdan`."""

from importlib import metadata
from typing import Annotated

import typer

from pipeline.base.processes import relax_garbage_collection
from pipeline.cli.commands import weights
from pipeline.cli.commands.ablate import ablate
from pipeline.cli.commands.check import check
from pipeline.cli.commands.configure import configure
from pipeline.cli.commands.doctor import doctor
from pipeline.cli.commands.info import info
from pipeline.cli.commands.memo import memo
from pipeline.cli.commands.new import new
from pipeline.cli.commands.predict import predict

app = typer.Typer(no_args_is_help=True, help="Audio-visual speech emotion recognition on cached embeddings.")


for command in (info, configure, doctor, new, check, ablate, predict, memo):
    app.command()(command)


app.add_typer(weights.app, name="weights")


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"fdan {metadata.version('fdan')}")
        raise typer.Exit


@app.callback()
def fdan(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Audio-visual speech emotion recognition on cached embeddings."""


def main() -> None:
    """Run the command line interface."""
    relax_garbage_collection()
    app()
