"""Compare variants of the head."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.base.errors import ParameterError, exit_with_message
from pipeline.base.registry import suggest
from pipeline.cli.console import console, plain

if TYPE_CHECKING:
    from pipeline.evaluation.schemas import AblationRow


def ablate(
    rows: Annotated[str, typer.Option(help="Rows of `ablations` in params.yaml, for example full,concat.")] = "",
    grid: Annotated[list[str] | None, typer.Option(help="Values to combine, for example head.width=128,256.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="The number of seeds per fold.")] = 1,
    csv: Annotated[Path | None, typer.Option(help="The CSV file for the results, one line per run.")] = None,
) -> None:
    """Train variants of the head on the cached embeddings and compare each with the row `full`.

    By default, all rows are trained. Runs that were trained before come from the memo.
    """
    with exit_with_message():
        from pipeline.ablation.comparison import REFERENCE, compare, minimum_p_value
        from pipeline.ablation.table import expand_grid, override, run_table, write_runs
        from pipeline.base.params import read_section
        from pipeline.evaluation.intervals import SIGNIFICANCE_LEVEL
        from pipeline.parallel.pool import ExecutionConfig
        from pipeline.parallel.progress import progress_bar
        from pipeline.training.corpus import open_corpus
        from pipeline.training.data_summary import summarise_data
        from pipeline.training.runs import plan_ablation, read_recipe

        recipe = read_recipe()
        table = read_section("ablations", dict[str, dict[str, dict[str, Any]]])
        names = [it.strip() for it in rows.split(",") if it.strip()] or ([] if grid else list(table))
        for name in names:
            if name not in table:
                raise ParameterError(f"--rows {name}: no such row in params.yaml; {suggest(name, table)}")
        variants: dict[str, dict[str, dict[str, Any]]] = (
            {REFERENCE: {}} | {name: table[name] for name in names} | expand_grid(grid or [])
        )
        variants.pop("", None)  # the result of `expand_grid` without a grid
        recipes = {name: override(recipe, overrides, row=name) for name, overrides in variants.items()}
        corpus = open_corpus()
        runs = plan_ablation(corpus, range(seeds))
        results = run_table(corpus, recipes, runs, read_section("run", ExecutionConfig))
        with progress_bar() as bar:
            total = len(recipes) * len(runs)
            tracked = bar.track(results, total=total, task_id=bar.add_task("ablate", total=total, summary=""))
            scores = write_runs(csv or Path("results/ablate.csv"), tracked, corpus.classes)
        _show_comparison(compare(scores), f"{len(runs)} runs per row: folds and seeds of {runs[0].split.protocol}")
        if (minimum := minimum_p_value(len(runs))) >= SIGNIFICANCE_LEVEL:
            console.print(
                f"With {len(runs)} runs, p cannot be less than {minimum:.3f}: use more --seeds.", highlight=False
            )
        if warning := summarise_data(corpus).warning:
            console.print(f"Warning: {warning}.", style="bold yellow", highlight=False)


def _show_comparison(rows: "Sequence[AblationRow]", title: str) -> None:
    table = Table("row", title=f"UAR of the fused prediction, in %; {title}", title_justify="left")
    for column in ("mean ± sd", "difference to full", "95 % interval", "p", "p, Holm"):
        table.add_column(column, justify="right")
    for row in rows:
        spread = "" if row.sd is None else f" ± {100 * row.sd:.1f}"
        tests = ["" if value is None else f"{value:.3f}" for value in (row.p, row.p_holm)]
        low, high = row.interval_95
        interval = f"{100 * low:+.1f} to {100 * high:+.1f}" if row.p is not None else ""
        cells = [f"{100 * row.mean:.1f}{spread}", f"{100 * row.difference:+.1f}", interval]
        table.add_row(plain(row.name), *cells, *tests)
    console.print(table)
