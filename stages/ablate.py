"""Train every row of the table `ablations` on the folds of the first protocol, and compare them in pairs."""

import json
from pathlib import Path
from typing import Any

from pipeline.ablation import compare, least_p, override, run_table, write_runs
from pipeline.evaluation import named
from pipeline.experiments import open_corpus, plan_ablation, read_recipe
from pipeline.figures.results import draw_ablation
from pipeline.files import write_text
from pipeline.parallel import RunConfig
from pipeline.params import read_section
from stages import run

RESULTS = Path("results")


def main() -> None:
    """Write `results/ablation.csv`, `results/ablation.json` and a figure."""
    recipe = read_recipe()
    table = read_section("ablations", dict[str, dict[str, dict[str, Any]]])
    recipes = {row: override(recipe, overrides, row=row) for row, overrides in table.items()}
    corpus = open_corpus()
    runs = plan_ablation(corpus, recipe.train.seeds)
    tested = run_table(corpus, recipes, runs, read_section("run", RunConfig))
    figures = write_runs(RESULTS / "ablation.csv", tested, corpus.classes)
    rows = compare(figures)
    first = runs[0].split
    protocol = named(first.protocol, speakers_shared=first.speakers_shared)
    summary = corpus.summary() | {"protocol": protocol, "figure": "uar", "rows": rows, "least_p": least_p(len(runs))}
    write_text(RESULTS / "ablation.json", json.dumps(summary, indent=2) + "\n")
    draw_ablation(rows, RESULTS / "figures/ablation.png", title=protocol)


if __name__ == "__main__":
    run(main)
