"""The table of training curves, read back: every run, and the mean over those that still train."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import fmean

import numpy as np

from pipeline.base.files import write_text
from pipeline.base.selection import evenly_spaced
from pipeline.training._epoch import Epoch

Series = tuple[list[int], list[float]]  # epochs, values
SHOWN = 40  # runs that are drawn one by one at most
LABELS = {"cross_entropy": "cross-entropy", "validation_uar": "UAR on the validation part"}


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
    def label(name: str) -> str:
        """Return a column's name in words."""
        return LABELS.get(name) or name.replace("alignment_", "layer ")

    def each(self, name: str) -> Iterator[Series]:
        """Yield the curves of all runs, or of so many of them at even distances."""
        for rows in evenly_spaced(list(self.runs.values()), SHOWN):
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


def write_curves(folder: Path, curves: Mapping[str, Sequence[Epoch]]) -> None:
    """Write `runs.csv`, a row for each run and epoch, and log the mean over the runs that still train."""
    from dvclive.live import Live  # here, because it costs a second that readers of curves need not pay

    rows = {run: [_flat(epoch) for epoch in curve] for run, curve in curves.items()}
    with Live(str(folder), report=None, save_dvc_exp=False, dvcyaml=None, monitor_system=False) as live:
        for some in zip_longest(*rows.values()):
            there = [row for row in some if row is not None]
            for name in there[0]:
                live.log_metric(name, float(np.mean([row[name] for row in there])))
            live.next_step()
    text = io.StringIO()
    names = dict.fromkeys(name for run in rows.values() for row in run for name in row)
    table = csv.DictWriter(text, ["run", "epoch", *names], lineterminator="\n")
    table.writeheader()
    for run, curve in rows.items():
        table.writerows({"run": run, "epoch": number} | row for number, row in enumerate(curve, start=1))
    write_text(folder / "runs.csv", text.getvalue())


def _flat(epoch: Epoch) -> dict[str, float]:
    layers = {f"alignment_{number}": value for number, value in enumerate(epoch.alignment, start=1)}
    figures = {"cross_entropy": epoch.cross_entropy, "validation_uar": epoch.validation_uar}
    return figures | {"alignment": sum(epoch.alignment)} | layers
