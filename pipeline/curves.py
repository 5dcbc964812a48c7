"""Training curves: every run's, and their mean where `dvc plots` and the DVC extension of VS Code look for it."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
from dvclive.live import Live

from pipeline.files import write_text
from pipeline.training import Epoch


def write_curves(folder: Path, curves: Mapping[str, Sequence[Epoch]]) -> None:
    """Write `runs.csv`, a row for each run and epoch, and log the mean over the runs that still train."""
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
