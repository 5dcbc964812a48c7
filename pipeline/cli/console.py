"""The console that all commands of `fdan` print to."""

from rich.console import Console
from rich.markup import escape

from pipeline.base.text import printable

console = Console()


def plain(value: object) -> str:
    """Return text of a file or a user for the console: it neither controls the terminal nor is read as markup."""
    return escape(printable(str(value)))
