"""Train each row of `ablations` on the folds of the first protocol, and compare each row with the reference."""

import json
from pathlib import Path
from typing import Any

from pipeline.ablation.comparison import compare, smallest_p
from pipeline.ablation.figure import draw_ablation
from pipeline.ablation.table import override, run_table, write_runs
from pipeline.base.files import write_text
from pipeline.base.params import read_section
from pipeline.evaluation.predictions import protocol_label
from pipeline.parallel.pool import ExecutionConfig
from pipeline.training.corpus import open_corpus
from pipeline.training.runs import plan_ablation, read_recipe
from stages import run_stage

RESULTS = Path("results")


def main() -> None:
    """Write `results/ablation.csv`, `results/ablation.json` and a figure."""
    recipe = read_recipe()
    table = read_section("ablations", dict[str, dict[str, dict[str, Any]]])
    recipes = {row: override(recipe, overrides, row=row) for row, overrides in table.items()}
    corpus = open_corpus()
    runs = plan_ablation(corpus, recipe.train.seeds)
    results = run_table(corpus, recipes, runs, read_section("run", ExecutionConfig))
    scores = write_runs(RESULTS / "ablation.csv", results, corpus.classes)
    rows = compare(scores)
    split = runs[0].split
    protocol = protocol_label(split.protocol, speakers_shared=split.speakers_shared)
    summary = corpus.summary() | {"protocol": protocol, "figure": "uar", "rows": rows, "least_p": smallest_p(len(runs))}
    write_text(RESULTS / "ablation.json", json.dumps(summary, indent=2) + "\n")
    draw_ablation(rows, RESULTS / "figures/ablate/ablation.png", title=protocol)


if __name__ == "__main__":
    run_stage(main)
