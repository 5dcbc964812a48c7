"""The progress bar of all long work."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text


def progress_bar(*, hidden: bool = False) -> Progress:
    """Return a progress bar on stderr; the field `summary` of a task is shown at the end of its line."""
    unbroken = Column(no_wrap=True)  # on a screen of 80 columns, the bar shrinks and the numbers stay
    return Progress(
        TextColumn("{task.description}", markup=False),  # a corpus may be called [b]
        BarColumn(),
        MofNCompleteColumn(table_column=unbroken),
        _Rate(table_column=unbroken),
        TimeRemainingColumn(table_column=unbroken),
        TextColumn("{task.fields[summary]}", markup=False),
        console=Console(stderr=True),
        disable=hidden,
    )


class _Rate(ProgressColumn):
    """The column with the steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")
