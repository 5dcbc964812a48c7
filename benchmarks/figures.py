"""A benchmark figure, and the measurement of ratios that hold on other machines too."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of the table; `spread` is the minimum and the maximum over the runs."""

    name: str
    value: float
    unit: str
    against: str
    runs: int
    spread: tuple[float, float]
    target: str

    def as_json(self) -> dict[str, Any]:
        """Return the figure as JSON-like data."""
        return asdict(self) | {"spread": list(self.spread)}


def single(name: str, value: float, unit: str, *, against: str = "", target: str) -> Figure:
    """Return a figure of one run."""
    return Figure(name, value, unit, against, 1, (value, value), target)


def ratio(
    name: str, slow: Callable[[], object], fast: Callable[[], object], *, against: str, target: str, runs: int = 5
) -> Figure:
    """Return how many times faster `fast` is than `slow`: the median over pairs of calls in turn.

    If the machine slows down, it slows both calls of a pair, and the ratio stays the same.
    """
    slow(), fast()  # the first calls load and compile
    ratios = [_seconds(slow) / _seconds(fast) for _ in range(runs)]
    return from_ratios(name, ratios, against=against, target=target)


def from_ratios(name: str, ratios: Sequence[float], *, unit: str = "times", against: str, target: str) -> Figure:
    """Return the median of ratios that were measured in turn."""
    return Figure(name, statistics.median(ratios), unit, against, len(ratios), (min(ratios), max(ratios)), target)


def slower(
    name: str, measured: Callable[[], object], reference: Callable[[], object], *, against: str, target: str
) -> Figure:
    """Return how many times as long as `reference` `measured` takes, by the method of `ratio`."""
    return replace(ratio(name, measured, reference, against=against, target=target), unit="times as long")


def times(figure: Figure, factor: float) -> Figure:
    """Return the figure multiplied by `factor`, for two calls that do different amounts of work."""
    low, high = figure.spread
    return replace(figure, value=figure.value * factor, spread=(low * factor, high * factor))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
