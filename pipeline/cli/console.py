"""The commands of `fdan`, a file each. Heavy imports stand inside functions, so that `--help` is there at once."""

from rich.console import Console

console = Console()
