"""The published weights: what is there, fetch it, verify it."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipeline.base.errors import ParameterError, exit_with_message
from pipeline.base.registry import suggest
from pipeline.cli.console import console

if TYPE_CHECKING:
    from pipeline.weights.files import WeightFile

app = typer.Typer(no_args_is_help=True, help="The published weights of all models: what is there, and get it.")
Models = Annotated[
    list[str] | None, typer.Argument(help="Models, as in yunet resnet50; without any: all detectors, fan and resnet34.")
]


def _published(models: list[str] | None) -> "dict[str, tuple[WeightFile, ...]]":
    """Return the files of the models named, or of the usual ones: torchvision's networks would be many gigabytes."""
    from pipeline.embeddings import backbones
    from pipeline.faces import landmarks, networks

    faces = networks.WEIGHT_FILES | landmarks.WEIGHT_FILES
    known = faces | {name: (file,) for name, file in backbones.published_weights().items()}
    for name in models or ():
        if name not in known:
            raise ParameterError(f"no weights are published for {name!r}; {suggest(name, known)}")
    usual = [name for name in sorted(known) if name in faces or name == "resnet34"]
    return {name: known[name] for name in models or usual}


@app.command("list")
def list_weights(models: Models = None) -> None:
    """List every model's files: whether they are there, where they must lie, their address and checksum."""
    with exit_with_message():
        for name, files in _published(models).items():
            for file in files:
                state = "[green]there[/green]  " if file.place.exists() else "[yellow]missing[/yellow]"
                told = escape(f"{file.place} from {file.url}, {file.checksum}")
                console.print(f"{state} [bold]{name}[/bold]: {told}", highlight=False, soft_wrap=True)


@app.command()
def fetch(models: Models = None) -> None:
    """Fetch what is missing, and verify it."""
    with exit_with_message():
        from pipeline.weights.files import obtain

        for name, files in _published(models).items():
            for file in files:
                console.print(f"{name}: {obtain(file)}", highlight=False, soft_wrap=True, markup=False)


@app.command()
def verify(models: Models = None) -> None:
    """Compare what is there with the published checksums; exit status 1 if a file is another."""
    with exit_with_message():
        faults = 0
        for name, files in _published(models).items():
            for file in files:
                if file.place.exists():
                    fault = file.fault()
                    faults += bool(fault)
                    found = fault or ("as published" if file.sha256 else file.checksum)
                    console.print(f"{name}: {file.place}: {found}", highlight=False, soft_wrap=True, markup=False)
    if faults:
        raise typer.Exit(1)
