"""Measure, print a table, write `benchmarks/results.json`."""

import json
import platform
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import build, detectors, manifest, memory, steps, training
from pipeline.files import write_text

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Run every benchmark."""
    # The manifest first: it asks how much memory this process ever held.
    figures = [
        *manifest.measure(),
        *steps.measure(),
        *detectors.measure(),
        *memory.measure(),
        *training.measure(),
        *build.measure(),
    ]
    table = Table("figure", "value", "against", "runs", "spread", "target")
    for it in figures:
        spread = f"{it.spread[0]:.2f} to {it.spread[1]:.2f}" if it.runs > 1 else ""
        table.add_row(it.name, f"{it.value:.2f} {it.unit}", it.against, str(it.runs), spread, it.target)
    Console().print(table)
    machine = {"cores": psutil.cpu_count(), "machine": platform.machine(), "system": platform.system()}
    write_text(RESULTS, json.dumps({"machine": machine, "figures": [it.as_json() for it in figures]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
