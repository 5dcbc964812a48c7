"""Train each row of `ablations` on the folds of the first protocol, and compare each row with the reference."""

from pathlib import Path
from typing import Any

from pipeline.ablation.comparison import summarise_table
from pipeline.ablation.figure import draw_ablation
from pipeline.ablation.table import keep_rows_with_effect, override, run_table, write_runs
from pipeline.base.params import read_section
from pipeline.parallel.pool import ExecutionConfig
from pipeline.training.answers import modalities_in
from pipeline.training.corpus import open_corpus
from pipeline.training.data_summary import summarise_data
from pipeline.training.runs import plan_ablation, read_recipe
from stages import run_stage

RESULTS = Path("results")


def main() -> None:
    """Write `results/ablation.csv`, `results/ablation.json` and a figure."""
    recipe = read_recipe()
    table = read_section("ablations", dict[str, dict[str, dict[str, Any]]])
    corpus = open_corpus()
    rows = {row: override(recipe, overrides, row=row) for row, overrides in table.items()}
    recipes = keep_rows_with_effect(rows, modalities_in(corpus.examples))
    runs = plan_ablation(corpus, recipe.train.seeds)
    tested = run_table(corpus, recipes, runs, read_section("run", ExecutionConfig))
    scores = write_runs(RESULTS / "ablation.csv", tested, corpus.classes)
    ablation = summarise_table(summarise_data(corpus, recipes.values(), runs), runs, scores)
    ablation.write(RESULTS / "ablation.json")
    draw_ablation(ablation, RESULTS / "figures/ablate/ablation.png")


if __name__ == "__main__":
    run_stage(main)
