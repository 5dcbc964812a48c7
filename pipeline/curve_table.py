"""The table of training curves, read back: every run, and the mean over those that still train."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from pipeline.sampling import evenly

Series = tuple[list[int], list[float]]  # epochs, values
SHOWN = 40  # runs that are drawn one by one at most
TOLD = {"cross_entropy": "cross-entropy", "validation_uar": "UAR on the validation part"}


@dataclass(frozen=True)
class Curves:
    """Columns of figures, one row an epoch, by run."""

    runs: dict[str, list[dict[str, float]]]

    @classmethod
    def read(cls, path: Path, protocol: str) -> "Curves":
        """Read the runs of a protocol; they are named protocol-fold-seed."""
        runs: dict[str, list[dict[str, float]]] = {}
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                run = row.pop("run")
                if run.rsplit("-", 2)[0] == protocol:
                    runs.setdefault(run, []).append({name: float(value) for name, value in row.items() if value})
        return cls(runs)

    def panels(self) -> dict[str, list[str]]:
        """Return titles, and the columns that stand under each."""
        first = next(iter(self.runs.values()))[0]
        layers = [name for name in first if name.startswith("alignment_")]
        return {
            "Cross-entropy, training parts": ["cross_entropy"],
            "UAR, validation parts": ["validation_uar"],
            "Distance between the modalities, by layer": layers or ["alignment"],
        }

    @staticmethod
    def told(name: str) -> str:
        """Return a column's name in words."""
        return TOLD.get(name) or name.replace("alignment_", "layer ")

    def each(self, name: str) -> Iterator[Series]:
        """Yield the curves of all runs, or of so many of them at even distances."""
        for rows in evenly(list(self.runs.values()), SHOWN):
            known = [(int(row["epoch"]), row[name]) for row in rows if name in row]
            yield [epoch for epoch, _ in known], [value for _, value in known]

    def mean(self, name: str) -> Series:
        """Return the mean over the runs that reach an epoch."""
        found: dict[int, list[float]] = {}
        for rows in self.runs.values():
            for row in rows:
                if name in row:
                    found.setdefault(int(row["epoch"]), []).append(row[name])
        return sorted(found), [fmean(found[epoch]) for epoch in sorted(found)]
