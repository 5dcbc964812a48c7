"""The progress of all long work: a bar on a terminal, lines in a log file."""

import logging
import time
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

LINE_EVERY_S = 30
log = logging.getLogger(__name__)


def progress_bar(*, hidden: bool = False) -> Progress:
    """Return a progress bar on stderr; the field `summary` of a task is shown at the end of its line.

    Where stderr is no terminal, there is a line in the log instead, every 30 seconds.
    """
    unbroken = Column(no_wrap=True)  # on a screen of 80 columns, the bar shrinks and the numbers stay
    console = Console(stderr=True)
    return (Progress if hidden or console.is_terminal else _Lines)(
        TextColumn("{task.description}", markup=False),  # a corpus may be called [b]
        BarColumn(),
        MofNCompleteColumn(table_column=unbroken),
        _Rate(table_column=unbroken),
        TimeRemainingColumn(table_column=unbroken),
        TextColumn("{task.fields[summary]}", markup=False),
        console=console,
        disable=hidden or not console.is_terminal,
    )


class _Rate(ProgressColumn):
    """The column with the steps per second."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task))


class _Lines(Progress):
    """Progress as lines in the log."""

    logged_at: float

    def start(self) -> None:
        super().start()
        self.logged_at = time.monotonic()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task as `Progress.update` does; log a line if the last one is old."""
        super().update(task_id, **changes)
        if time.monotonic() - self.logged_at >= LINE_EVERY_S:
            self.logged_at = time.monotonic()
            log.info("%s", _describe(self._tasks[task_id]))


def _describe(task: Task) -> str:
    left = "" if task.time_remaining is None else f"{timedelta(seconds=round(task.time_remaining))} left"
    done = f"{task.completed:.0f} of {task.total or 0:.0f}"
    return f"{task.description}: " + ", ".join(filter(None, [done, _rate(task), left, task.fields["summary"]]))


def _rate(task: Task) -> str:
    return f"{task.speed:.1f}/s" if task.speed else ""
