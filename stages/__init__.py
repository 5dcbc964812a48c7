"""One thin script per stage of `dvc.yaml`: read parameters, open inputs, call the library, write outputs."""

import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil
from rich.console import Console

from pipeline.base.errors import exit_with_message
from pipeline.base.logs import stderr_handler
from pipeline.base.processes import ONE_THREAD, relax_garbage_collection

INTERRUPTED = 130  # the exit status of a command that Ctrl-C has ended
relax_garbage_collection()
os.environ.update(ONE_THREAD)  # at import, because numerical libraries read these variables when they are imported


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage: log to stderr, stop at once on Ctrl-C, and report a pipeline error in one line."""
    logging.basicConfig(level=logging.INFO, handlers=[stderr_handler()])
    signal.signal(signal.SIGINT, _stop)
    with exit_with_message():
        main()


def _stop(*_: object) -> None:
    """Kill the workers and exit at once. All files are written atomically, so there is nothing to clean up.

    An exception would get lost if a callback of the garbage collector or of the event loop is running. Nothing comes
    between killing and exiting: a thread that missed a process would start it again.
    """
    try:
        console = Console(stderr=True)
        console.show_cursor()  # a progress bar hides it
        console.print("\nstopped; finished work is kept; run the same command again to continue")
    finally:  # also if nobody reads stderr any more
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        os._exit(INTERRUPTED)
