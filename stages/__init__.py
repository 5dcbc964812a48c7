"""One thin script per stage of `dvc.yaml`: read parameters, open inputs, call the library, write outputs."""

import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil
from rich.console import Console
from rich.logging import RichHandler

from pipeline.base.errors import exit_with_message
from pipeline.base.processes import ONE_THREAD, relax_garbage_collection
from pipeline.base.text import printable

INTERRUPTED = 130  # the exit status of a command that Ctrl-C has ended
relax_garbage_collection()
os.environ.update(ONE_THREAD)  # at import, because numerical libraries read these variables when they are imported


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage: log to the terminal, stop at once on Ctrl-C, and report a pipeline error in one line.

    Where stderr is no terminal, a message is a line, however long: a file is searched by lines.
    """
    console = Console(stderr=True)
    handler: logging.Handler = RichHandler(console=console, show_path=False, show_time=False)
    handler.setFormatter(PrintableFormatter())
    if not console.is_terminal:
        handler = logging.StreamHandler()
        handler.setFormatter(PrintableFormatter("%(levelname)-8s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    signal.signal(signal.SIGINT, _stop)
    with exit_with_message():
        main()


class PrintableFormatter(logging.Formatter):
    """Makes every line harmless for a terminal, because notes and reasons contain names of strangers' files."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def _stop(*_: object) -> None:
    """Kill the workers and exit at once. All files are written atomically, so there is nothing to clean up.

    An exception would get lost if a callback of the garbage collector or of the event loop is running.
    """
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    console = Console(stderr=True)
    console.show_cursor()  # a progress bar hides it
    console.print("\nstopped; finished work is kept; run the same command again to continue")
    os._exit(INTERRUPTED)
