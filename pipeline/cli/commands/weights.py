"""List, fetch and verify the published weights."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.base.errors import ParameterError, exit_with_message
from pipeline.base.registry import suggest
from pipeline.cli.console import console, plain

if TYPE_CHECKING:
    from pipeline.weights.files import WeightFile

app = typer.Typer(no_args_is_help=True, help="List, fetch and verify the published weights of all models.")
Models = Annotated[
    list[str] | None, typer.Argument(help="Models, for example yunet resnet50; default: all detectors, fan, resnet34.")
]


def _published(models: list[str] | None) -> "dict[str, tuple[WeightFile, ...]]":
    """Return the files of the named models; by default, not those of all torchvision networks (many gigabytes)."""
    from pipeline.weights import published

    face_models = published.DETECTOR_FILES | published.LANDMARK_FILES
    files = face_models | {name: (file,) for name, file in published.backbone_files().items()}
    for name in models or ():
        if name not in files:
            raise ParameterError(f"no weights are published for {name!r}; {suggest(name, files)}")
    defaults = [name for name in sorted(files) if name in face_models or name == "resnet34"]
    return {name: files[name] for name in models or defaults}


@app.command("list")
def list_weights(models: Models = None) -> None:
    """List the files of each model: whether they are present, their path, address and checksum."""
    with exit_with_message():
        for name, files in _published(models).items():
            for file in files:
                state = "[green]present[/green]" if file.path.exists() else "[yellow]missing[/yellow]"
                source = plain(f"{file.path} from {file.url}, {file.checksum_text}")
                console.print(f"{state} [bold]{name}[/bold]: {source}", highlight=False, soft_wrap=True)


@app.command()
def fetch(models: Models = None) -> None:
    """Download missing files and verify all of them."""
    with exit_with_message():
        from pipeline.weights.files import fetch_weights

        for name, files in _published(models).items():
            for file in files:
                console.print(plain(f"{name}: {fetch_weights(file)}"), highlight=False, soft_wrap=True)


@app.command()
def verify(models: Models = None) -> None:
    """Compare the present files with the published checksums; the exit status is 1 if a file differs."""
    with exit_with_message():
        mismatches = 0
        for name, files in _published(models).items():
            for file in files:
                if file.path.exists():
                    mismatch = file.mismatch()
                    mismatches += bool(mismatch)
                    result = mismatch or ("as published" if file.sha256 else file.checksum_text)
                    console.print(plain(f"{name}: {file.path}: {result}"), highlight=False, soft_wrap=True)
    if mismatches:
        raise typer.Exit(1)
