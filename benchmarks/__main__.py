"""Measure, print a table, write `benchmarks/results.json`: everything, or the rooms that are named."""

import json
import platform
import sys
from importlib import import_module
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from pipeline.base.files import write_text

RESULTS = Path(__file__).parent / "results.json"
# The manifest is first, and each is imported in its turn: it asks how much memory this process ever held.
ROOMS = ("manifest", "steps", "layout", "detectors", "memory", "training", "build")


def main() -> None:
    """Run the benchmarks; of rooms that are not named the figures of the last run stay."""
    wanted = sys.argv[1:] or list(ROOMS)
    if unknown := sorted({*wanted} - {*ROOMS}):
        raise SystemExit(f"error: no room {', '.join(unknown)}; there are {', '.join(ROOMS)}")
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))["figures"] if len(wanted) < len(ROOMS) else []
    table = Table("figure", "value", "against", "runs", "spread", "target")
    figures = []
    for room in ROOMS:
        figures += [it for it in kept if it["room"] == room and room not in wanted]
        for it in import_module(f"benchmarks.{room}").measure() if room in wanted else ():
            spread = f"{it.spread[0]:.2f} to {it.spread[1]:.2f}" if it.runs > 1 else ""
            table.add_row(it.name, f"{it.value:.2f} {it.unit}", it.against, str(it.runs), spread, it.target)
            figures.append({"room": room} | it.as_json())
    Console().print(table)
    from pipeline.parallel.devices import hardware

    machine = {"cores": psutil.cpu_count(), "processor": hardware("cpu"), "system": platform.system()}
    write_text(RESULTS, json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
