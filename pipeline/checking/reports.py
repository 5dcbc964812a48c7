"""What a check leaves: what was measured, and a picture."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from pipeline.base.errors import PipelineError

Item = TypeVar("Item")
Result = TypeVar("Result")
FOLDER = Path("results/check")


@dataclass(frozen=True)
class CheckReport:
    """The result of a check without a violation."""

    part: str  # kind and name, such as "detector 'my_detector:build'"
    data: str  # what it was checked on
    ms: dict[str, float]  # milliseconds by name: of the part, and of the one that it is compared with
    unit: str  # what takes so long, such as "clip"
    notes: list[str]  # one line each
    picture: Path


def measure(function: Callable[[Item], Result], items: Iterable[Item]) -> tuple[list[Result], float]:
    """Return the results, and the mean time of a call in ms; the first item is computed once more before, untimed.

    That builds the part, loads its libraries and compiles what is compiled.
    """
    items = list(items)
    function(items[0])
    start = perf_counter()
    results = [function(item) for item in items]
    return results, 1000 * (perf_counter() - start) / len(items)


def try_reference(name: str, compute: Callable[[], Result], notes: list[str]) -> Result | None:
    """Return the result for the part to compare with; if it cannot run, add the reason to the notes."""
    try:
        return compute()
    except PipelineError as error:
        notes.append(f"{name} could not be run for comparison: {error}")
        return None


def prepare(picture: Path) -> Path:
    """Return the path of a picture after making its folder."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    return picture
