"""Train each row of `ablations` on the folds of the first protocol, and compare each row with the reference."""

from pathlib import Path

from pipeline.ablation.comparison import summarise_table
from pipeline.ablation.figure import draw_ablation
from pipeline.ablation.table import open_rows, run_table, write_runs
from pipeline.base.params import read_section
from pipeline.parallel.pool import ExecutionConfig
from pipeline.training.data_summary import summarise_data
from pipeline.training.runs import plan_ablation, read_recipe
from pipeline.variants.index import read_index
from pipeline.variants.rows import REFERENCE, read_ablations
from stages import run_stage

RESULTS = Path("results")


def main() -> None:
    """Write `results/ablation.csv`, `results/ablation.json` and a figure."""
    recipe, table = read_recipe(), read_ablations()
    rows = open_rows(table, recipe, read_index(table))
    corpus = rows[REFERENCE].corpus
    runs = plan_ablation(corpus, recipe.train.seeds)
    tested = run_table(rows, runs, read_section("run", ExecutionConfig))
    scores = write_runs(RESULTS / "ablation.csv", tested, rows)
    ablation = summarise_table(summarise_data(corpus, [row.recipe for row in rows.values()], runs), runs, scores)
    ablation.write(RESULTS / "ablation.json")
    draw_ablation(ablation, RESULTS / "figures/ablate/ablation.png")


if __name__ == "__main__":
    run_stage(main)
