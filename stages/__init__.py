"""One thin script a stage of `dvc.yaml`: read parameters, open inputs, call the library, write outputs."""

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

STOPPED = 130  # what shells say of a command that Ctrl-C has ended
relax_garbage_collection()
os.environ.update(ONE_THREAD)  # here, because numerical libraries read it once, when they are imported


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage: its log goes to the terminal, and a mistake that a person can mend is one line."""
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    signal.signal(signal.SIGINT, _stop)
    with exit_with_message():
        main()


def _stop(*_: object) -> None:
    """Stop at once, workers first. All that is kept is written whole, so there is nothing to put in order.

    An exception would have to find its way out of whatever runs now; in a callback of the garbage collector or
    the event loop it gets lost.
    """
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    console = Console(stderr=True)
    console.show_cursor()  # which a progress bar hides
    console.print("\nstopped; what is done is kept, and the same command goes on from there")
    os._exit(STOPPED)
