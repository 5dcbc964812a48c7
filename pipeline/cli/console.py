"""The console that all commands of `fdan` print to."""

from rich.console import Console

console = Console()
