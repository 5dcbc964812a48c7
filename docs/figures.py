"""The table of the last `make bench`."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks/results.json"
HEADINGS = ("figure", "value", "against", "runs", "spread", "target")


def figures() -> str:
    """Return the machine and all figures as Markdown."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    machine = results["machine"]
    summary = f"Measured on {machine['cores']} cores, {machine['processor']}, {machine['system']}."
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_row, results["figures"])]
    return summary + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    low, high = figure["spread"]
    spread = f"{low:.2f} to {high:.2f}" if figure["runs"] > 1 else ""
    value = f"{figure['value']:.2f} {figure['unit']}"
    return figure["name"], value, figure["against"], str(figure["runs"]), spread, figure["target"]
