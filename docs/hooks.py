"""Hooks of mkdocs: the page of benchmarks shows the last `make bench`, and the graph of stages is an image.

Code hosts draw Mermaid. The theme would fetch a script for it, and built pages fetch nothing.
"""

import json
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks/results.json"
MARK = "<!-- figures -->"
MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)
IMAGE = "![The graph of stages](images/graph.svg)"
HEADINGS = ("figure", "value", "against", "runs", "spread", "target")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in the table of benchmarks, and the image of the graph."""
    if MARK in markdown:
        markdown = markdown.replace(MARK, table(json.loads(RESULTS.read_text(encoding="utf-8"))))
    return MERMAID.sub(IMAGE, markdown)


def table(results: dict[str, Any]) -> str:
    """Return the machine and all figures as Markdown."""
    machine = results["machine"]
    summary = f"Measured on {machine['cores']} cores, {machine['processor']}, {machine['system']}."
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_row, results["figures"])]
    return summary + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    low, high = figure["spread"]
    spread = f"{low:.2f} to {high:.2f}" if figure["runs"] > 1 else ""
    value = f"{figure['value']:.2f} {figure['unit']}"
    return figure["name"], value, figure["against"], str(figure["runs"]), spread, figure["target"]
