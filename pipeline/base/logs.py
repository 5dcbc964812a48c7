"""Log messages as people read them: on a terminal, or as the lines of a file."""

import logging

from rich.console import Console
from rich.logging import RichHandler

from pipeline.base.text import printable


class PrintableFormatter(logging.Formatter):
    """Makes every line harmless for a terminal, because notes and reasons contain names of strangers' files."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def stderr_handler() -> logging.Handler:
    """Return a handler that writes to stderr; if that is no terminal, a message is a line, however long."""
    console = Console(stderr=True)
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False, show_time=False)
        handler.setFormatter(PrintableFormatter())
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(PrintableFormatter("%(levelname)-8s %(message)s"))
    return handler
