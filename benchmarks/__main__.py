"""Run all benchmarks, or those named as arguments; print a table and write `benchmarks/results.json`."""

import json
import platform
import sys
from importlib import import_module
from itertools import chain
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from pipeline.base.files import write_text

RESULTS = Path(__file__).parent / "results.json"
# "manifest" is first, and the others are imported later, because it measures this process's peak memory.
BENCHMARKS = (
    "manifest",
    "steps",
    "embedding",
    "layout",
    "detectors",
    "memory",
    "scale",
    "training",
    "build",
    "before",
)


def main() -> None:
    """Run the benchmarks; keep the figures of those that are not named, and those of other machines."""
    wanted = sys.argv[1:] or list(BENCHMARKS)
    if unknown := sorted({*wanted} - {*BENCHMARKS}):
        raise SystemExit(f"error: unknown benchmark {', '.join(unknown)}; valid: {', '.join(BENCHMARKS)}")
    measured = {name: import_module(f"benchmarks.{name}").measure() for name in BENCHMARKS if name in wanted}
    table = Table("figure", "value", "against", "runs", "spread", "target")
    for figure in chain.from_iterable(measured.values()):
        spread = f"{figure.spread[0]:.2f} to {figure.spread[1]:.2f}" if figure.runs > 1 else ""
        value = f"{figure.value:.2f} {figure.unit}"
        table.add_row(figure.name, value, figure.against, str(figure.runs), spread, figure.target)
    Console().print(table)
    machine = _machine()
    figures = json.loads(RESULTS.read_text(encoding="utf-8"))["figures"]
    figures = [it for it in figures if it["machine"] != machine or it["benchmark"] not in measured]
    for name, new in measured.items():
        figures += [{"benchmark": name, "machine": machine} | figure.as_json() for figure in new]
    figures.sort(key=lambda it: BENCHMARKS.index(it["benchmark"]))
    write_text(RESULTS, json.dumps({"figures": figures}, indent=2) + "\n")


def _machine() -> str:
    from pipeline.parallel.devices import hardware

    return f"{psutil.cpu_count()} cores, {hardware('cpu')}, {platform.system()}"


if __name__ == "__main__":
    main()
