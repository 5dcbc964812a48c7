"""What mkdocs does beside its own: the page of benchmarks shows the figures of the last `make bench`."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks/results.json"
PLACE = "<!-- figures -->"
HEADINGS = ("figure", "value", "against", "runs", "spread", "target")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the table where the page has its place for it."""
    return markdown.replace(PLACE, table(json.loads(RESULTS.read_text(encoding="utf-8"))))


def table(results: dict[str, Any]) -> str:
    """Return the machine and all figures as Markdown."""
    machine = results["machine"]
    told = f"Measured on {machine['cores']} cores, {machine['processor']}, {machine['system']}."
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_row, results["figures"])]
    return told + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    low, high = figure["spread"]
    spread = f"{low:.2f} to {high:.2f}" if figure["runs"] > 1 else ""
    value = f"{figure['value']:.2f} {figure['unit']}"
    return figure["name"], value, figure["against"], str(figure["runs"]), spread, figure["target"]
