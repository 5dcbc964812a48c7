"""Training curves: the table of every run and epoch, written by `train` and read by the report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import fmean

import numpy as np

from pipeline.base.errors import StoreError
from pipeline.base.files import name_full_disk
from pipeline.base.selection import evenly_spaced
from pipeline.base.tables import read_table, unescape_cell, write_table
from pipeline.training._epoch import Epoch

Series = tuple[list[int], list[float]]  # epochs, values
SHOWN_RUNS = 40  # single runs in a figure at most
LABELS = {"cross_entropy": "cross-entropy", "validation_uar": "UAR on the validation part"}


@dataclass(frozen=True)
class Curves:
    """Columns of losses and scores by run, one row per epoch."""

    runs: dict[str, list[dict[str, float]]]

    @classmethod
    def read(cls, path: Path, protocol: str) -> "Curves":
        """Read the runs of a protocol, whose names are protocol-fold-seed; raise `StoreError` if there are none."""
        runs: dict[str, list[dict[str, float]]] = {}
        fix = "run: dvc repro --force --single-item train"
        for line, row in read_table(path, raises=StoreError, fix=fix)[1]:
            run = unescape_cell(row.pop("run", ""))
            if run.rsplit("-", 2)[0] == protocol:
                try:
                    runs.setdefault(run, []).append({name: float(value) for name, value in row.items() if value})
                except ValueError as error:
                    raise StoreError(f"{path}, line {line}: {error}; {fix}") from error
        if not runs:
            raise StoreError(f"{path} has no run of {protocol!r}; {fix}")
        return cls(runs)

    def panels(self) -> dict[str, list[str]]:
        """Return the titles of the panels, with the columns of each; no distance where nothing was aligned."""
        first = next(iter(self.runs.values()))[0]
        layers = [name for name in first if name.startswith("alignment_")]
        panels = {"Cross-entropy, training parts": ["cross_entropy"], "UAR, validation parts": ["validation_uar"]}
        if any(row.get("alignment") for rows in self.runs.values() for row in rows):
            panels["Distance between the modalities, by layer"] = layers or ["alignment"]
        return panels

    @staticmethod
    def label(name: str) -> str:
        """Return the label of a column."""
        return LABELS.get(name) or name.replace("alignment_", "layer ")

    def each(self, name: str) -> Iterator[Series]:
        """Yield the curves of all runs, or of `SHOWN_RUNS` of them at even distances."""
        for rows in evenly_spaced(list(self.runs.values()), SHOWN_RUNS):
            points = [(int(row["epoch"]), row[name]) for row in rows if name in row]
            yield [epoch for epoch, _ in points], [value for _, value in points]

    def mean(self, name: str) -> Series:
        """Return the mean over the runs that reach an epoch."""
        by_epoch: dict[int, list[float]] = {}
        for rows in self.runs.values():
            for row in rows:
                if name in row:
                    by_epoch.setdefault(int(row["epoch"]), []).append(row[name])
        return sorted(by_epoch), [fmean(by_epoch[epoch]) for epoch in sorted(by_epoch)]


def write_curves(folder: Path, curves: Mapping[str, Sequence[Epoch]]) -> None:
    """Write `runs.csv`, one row per run and epoch, and log the mean over the runs that reach an epoch."""
    from dvclive.live import Live  # slow to import, and readers do not need it

    rows = {run: [_flat(epoch) for epoch in curve] for run, curve in curves.items()}
    with (
        name_full_disk(folder),
        Live(str(folder), report=None, save_dvc_exp=False, dvcyaml=None, monitor_system=False) as live,
    ):
        for epoch_rows in zip_longest(*rows.values()):
            reached = [row for row in epoch_rows if row is not None]
            for name in reached[0]:
                live.log_metric(name, float(np.mean([row[name] for row in reached])))
            live.next_step()
    names = dict.fromkeys(name for run in rows.values() for row in run for name in row)
    lines = (
        [run, number, *(row.get(name) for name in names)]
        for run, curve in rows.items()
        for number, row in enumerate(curve, start=1)
    )
    write_table(folder / "runs.csv", ["run", "epoch", *names], lines)


def _flat(epoch: Epoch) -> dict[str, float]:
    layers = {f"alignment_{number}": value for number, value in enumerate(epoch.alignment, start=1)}
    figures = {"cross_entropy": epoch.cross_entropy, "validation_uar": epoch.validation_uar}
    return figures | {"alignment": sum(epoch.alignment)} | layers
