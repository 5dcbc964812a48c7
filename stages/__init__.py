"""One thin script a stage of `dvc.yaml`: read parameters, open inputs, call the library, write outputs."""

import logging
import os
from collections.abc import Callable

from rich.console import Console
from rich.logging import RichHandler

from pipeline.errors import for_people
from pipeline.threads import ONE_THREAD

os.environ.update(ONE_THREAD)  # here, because numerical libraries read it once, when they are imported


def run(main: Callable[[], None]) -> None:
    """Run a stage: its log goes to the terminal, and a mistake that a person can mend is one line."""
    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    with for_people():
        main()
