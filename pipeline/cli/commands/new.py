"""Begin a part of a user's own."""

from typing import Annotated

import typer

from pipeline.base.errors import exit_with_message
from pipeline.cli.console import console, plain


def new(
    part: Annotated[str, typer.Argument(help="detector, spectrogram, backbone, head, alignment or adapter.")],
    name: Annotated[str, typer.Argument(help="The name of the module: plugins/NAME.py.")],
) -> None:
    """Write a part of your own into plugins/, ready to be changed: a commented example that works as it is."""
    with exit_with_message():
        from pipeline.checking.skeletons import usage, write_skeleton

        path = write_skeleton(part, name)
        line, argument = usage(part, name)
        for text in (f"wrote {path}", f"in params.yaml: {line}", f"Next: fdan check {argument}"):
            console.print(plain(text), highlight=False, soft_wrap=True)
