"""What rows need before they can be trained: their files of embeddings, and what must be extracted for these."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.base.selection import shorten
from pipeline.memo.extraction import Step
from pipeline.store.embedding_files import EmbeddingFiles

log = logging.getLogger(__name__)
Media = Mapping[str, str]  # sha256 by clip id


@dataclass(frozen=True)
class Task:
    """A file to extract."""

    target: Path
    write: Callable[[], object]
    step: Callable[[], Step]
    media: Callable[[], Media]  # of the clips that the step may have to compute
    is_upper_bound: bool = False  # whether some of the clips may have no images
    rows: list[str] = field(default_factory=list)  # that need the file


@dataclass(frozen=True)
class Plan:
    """The embeddings of rows, and what must be extracted before they can be read."""

    files: dict[str, EmbeddingFiles]  # by row
    tasks: list[Task] = field(default_factory=list)  # in the order in which they can be done
    unknown: dict[str, list[str]] = field(default_factory=dict)  # row: the weights without which it cannot be planned

    @property
    def waiting(self) -> set[str]:
        """The rows whose embeddings cannot be read yet."""
        return {row for task in self.tasks for row in task.rows} | self.unknown.keys()

    def extract(self) -> None:
        """Extract everything that is missing; finished clips are kept if this is stopped."""
        for task in self.tasks:
            log.info("%s for the rows %s", task.target, shorten(task.rows))
            task.write()
