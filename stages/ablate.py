"""Train each row of `ablations` on the folds of the first protocol, and compare each row with the reference."""

from pathlib import Path
from typing import Any

from pipeline.ablation.comparison import compare, minimum_p_value
from pipeline.ablation.figure import draw_ablation
from pipeline.ablation.table import override, run_table, write_runs
from pipeline.base.params import read_section
from pipeline.evaluation.predictions import protocol_label
from pipeline.evaluation.schemas import Ablation
from pipeline.parallel.pool import ExecutionConfig
from pipeline.training.corpus import open_corpus
from pipeline.training.data_summary import summarise_data
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
    tested = run_table(corpus, recipes, runs, read_section("run", ExecutionConfig))
    rows = compare(write_runs(RESULTS / "ablation.csv", tested, corpus.classes))
    first = runs[0].split
    protocol = protocol_label(first.protocol, speakers_shared=first.speakers_shared)
    data = dict(summarise_data(corpus))
    ablation = Ablation(**data, protocol=protocol, rows=rows, minimum_p=minimum_p_value(len(runs)))
    ablation.write(RESULTS / "ablation.json")
    draw_ablation(rows, RESULTS / "figures/ablate/ablation.png", title=protocol)


if __name__ == "__main__":
    run_stage(main)
