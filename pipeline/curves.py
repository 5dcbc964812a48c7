"""Training curves where `dvc plots` and the DVC extension of VS Code look for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dvclive.live import Live


def log_curves(folder: Path, curves: Sequence[Sequence[dict[str, Any]]]) -> None:
    """Log the mean over runs of every figure, epoch by epoch; all runs have the same epochs."""
    with Live(str(folder), report=None, save_dvc_exp=False, dvcyaml=None, monitor_system=False) as live:
        for rows in zip(*curves, strict=True):
            for name in rows[0]:
                if name != "epoch":
                    live.log_metric(name, float(np.mean([row[name] for row in rows])))
            live.next_step()
