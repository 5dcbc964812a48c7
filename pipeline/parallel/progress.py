"""Mapping a step over clips: what the memo holds is read, the rest is computed, failures are recorded."""

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
    """Return the bar that all long work shows; a task's field `summary` says what came of it so far."""
    whole = Column(no_wrap=True)  # on a screen of 80 columns the bar shrinks, not the numbers
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(table_column=whole),
        _Rate(table_column=whole),
        TimeRemainingColumn(table_column=whole),
        TextColumn("{task.fields[summary]}"),
        console=Console(stderr=True),
        disable=hidden,
    )


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")
