"""The graph of stages, as Mermaid for code hosts and as an image for pages that fetch nothing."""

from itertools import product
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Graph = dict[str, set[str]]  # stage: the stages that use what it writes
SAMPLE, ROOT_OF_CORPUS = "data/${key}", "${item.root}"
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 104, 32, 24, 20, 6  # pixels of a box, and around it
STYLE = (
    "path{stroke:#808080;stroke-width:1.5;fill:none}rect{fill:#e8eaf6;stroke:#4051b5}"
    "text{font:13px sans-serif;text-anchor:middle;fill:#202020}"
)


def read_graph(path: Path) -> Graph:
    """Return the stages of `dvc.yaml` in the file's order; an edge that a longer way implies is left out."""
    stages = {name: it.get("do", it) for name, it in YAML(typ="safe").load(path)["stages"].items()}
    graph: Graph = {name: set() for name in stages}
    for (source, made), (target, used) in product(stages.items(), repeat=2):
        if any(_overlap(out, dep) for out, dep in product(_paths(made), used["deps"])):
            graph[source].add(target)
    below = {name: _below(graph, name) for name in graph}
    return {
        name: {it for it in after if not any(it in below[other] for other in after)} for name, after in graph.items()
    }


def _paths(stage: dict[str, Any]) -> list[str]:
    entries = [*stage["outs"], *stage.get("metrics", ())]
    return [path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)]


def _overlap(out: str, dep: str) -> bool:
    """Return whether a dependency lies in an output or holds it; `render` writes the root of the sample corpus."""
    if out == SAMPLE or dep == ROOT_OF_CORPUS:
        return (out, dep) == (SAMPLE, ROOT_OF_CORPUS)
    one, other = (path.partition("/${")[0] + "/" for path in (out, dep))
    return one.startswith(other) or other.startswith(one)


def _below(graph: Graph, name: str) -> set[str]:
    """Return all stages that come after one."""
    return graph[name].union(*(_below(graph, it) for it in graph[name]))


def as_mermaid(graph: Graph) -> str:
    """Return the graph in Mermaid's notation."""
    order = list(graph)
    edges = [f"    {name} --> {it}" for name, after in graph.items() for it in sorted(after, key=order.index)]
    return "\n".join(["flowchart LR", *edges]) + "\n"


def as_svg(graph: Graph) -> str:
    """Return the graph as SVG, from left to right."""
    columns = _columns(graph)
    rows = _rows(graph, columns)
    places = {
        name: (MARGIN + x * (WIDTH + GAP_X), MARGIN + rows[name] * (HEIGHT + GAP_Y))
        for x, column in enumerate(columns)
        for name in column
    }
    lines = [
        f'<path d="M{x + WIDTH} {y + HEIGHT / 2:g} L{places[it][0]} {places[it][1] + HEIGHT / 2:g}"/>'
        for name, (x, y) in places.items()
        for it in sorted(graph[name])
    ]
    boxes = [
        f'<rect x="{x}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<text x="{x + WIDTH / 2:g}" y="{y + HEIGHT / 2 + 4:g}">{name}</text>'
        for name, (x, y) in places.items()
    ]
    tallest = max(map(len, columns))
    width, height = 2 * MARGIN + len(columns) * (WIDTH + GAP_X) - GAP_X, 2 * MARGIN + tallest * (HEIGHT + GAP_Y) - GAP_Y
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *lines, *boxes, "</svg>"]) + "\n"


def _columns(graph: Graph) -> list[list[str]]:
    """Return the stages by the length of the longest way to them."""
    depth = dict.fromkeys(graph, 0)
    for name in graph:  # the file lists a stage after those that it depends on
        for following in graph[name]:
            depth[following] = max(depth[following], depth[name] + 1)
    return [[name for name in graph if depth[name] == number] for number in range(max(depth.values()) + 1)]


def _rows(graph: Graph, columns: list[list[str]]) -> dict[str, float]:
    """Return the row of each stage; one that is alone in its column is next to the stages before it."""
    rows: dict[str, float] = {}
    for column in columns:
        before = [rows[name] for name in rows if graph[name] & {*column}]
        if len(column) == 1:
            rows[column[0]] = sum(before) / len(before) if before else (max(map(len, columns)) - 1) / 2
        else:
            rows |= {name: float(number) for number, name in enumerate(column)}
    return rows
