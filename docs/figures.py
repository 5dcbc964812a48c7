"""The table of the last `make bench`."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks/results.json"
HEADINGS = ("figure", "value", "against", "runs", "spread", "target")


def figures() -> str:
    """Return all figures as Markdown, a table for each machine that measured some."""
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))["figures"]
    machines = dict.fromkeys(figure["machine"] for figure in measured)
    tables = {machine: _table([it for it in measured if it["machine"] == machine]) for machine in machines}
    return "\n".join(f"Measured on {machine}:\n\n{table}" for machine, table in tables.items())


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(_row, rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    low, high = figure["spread"]
    spread = f"{low:.2f} to {high:.2f}" if figure["runs"] > 1 else ""
    value = f"{figure['value']:.2f} {figure['unit']}"
    return figure["name"], value, figure["against"], str(figure["runs"]), spread, figure["target"]
