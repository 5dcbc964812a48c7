"""Figures of benchmarks, and the measurement of ratios that hold on other machines."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of the table; `spread` is the smallest and the largest of the runs."""

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
    """Return how many times faster `fast` is than `slow`: the median over pairs of alternating runs.

    A machine that slows down in between slows both runs of a pair, so the ratio holds.
    """
    slow(), fast()  # warm up
    ratios = sorted(_seconds(slow) / _seconds(fast) for _ in range(runs))
    return Figure(name, statistics.median(ratios), "times", against, runs, (ratios[0], ratios[-1]), target)


def slowdown(
    name: str, ours: Callable[[], object], other: Callable[[], object], *, against: str, target: str
) -> Figure:
    """Return how many times as long as `other` `ours` takes, measured like `ratio`."""
    return replace(ratio(name, ours, other, against=against, target=target), unit="times as long")


def times(figure: Figure, factor: float) -> Figure:
    """Return a ratio multiplied by a factor, for calls that do different amounts of work."""
    low, high = figure.spread
    return replace(figure, value=figure.value * factor, spread=(low * factor, high * factor))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
