"""Compare variants of the head."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.base.errors import ParameterError, exit_with_message
from pipeline.base.registry import suggest
from pipeline.cli.console import console, plain

if TYPE_CHECKING:
    from pipeline.evaluation.ablation_schemas import Ablation


def ablate(
    rows: Annotated[str, typer.Option(help="Rows of `ablations` in params.yaml, for example full,concat.")] = "",
    grid: Annotated[list[str] | None, typer.Option(help="Values to combine, for example head.width=128,256.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="The number of seeds per fold.")] = 1,
    csv: Annotated[Path | None, typer.Option(help="The CSV file for the results, one line per run.")] = None,
    select: Annotated[
        bool, typer.Option("--select", help="Also show the UAR if each fold's validation part chooses the row.")
    ] = False,
) -> None:
    """Train variants of the head on the cached embeddings and compare each with the row `full`.

    By default, all rows are trained. Runs that were trained before come from the memo.
    """
    with exit_with_message():
        from pipeline.base.params import read_section

        table = read_section("ablations", dict[str, dict[str, dict[str, Any]]])
        names = _split_names(rows, table) or ([] if grid else list(table))
        # After the rows are checked: these imports take seconds.
        from pipeline.ablation.comparison import REFERENCE, summarise_table
        from pipeline.ablation.table import (
            expand_grid,
            keep_rows_with_effect,
            override,
            run_table,
            write_runs,
        )
        from pipeline.evaluation.results import explain_linear_rows, explain_selection
        from pipeline.parallel.pool import ExecutionConfig
        from pipeline.training.answers import modalities_in
        from pipeline.training.corpus import open_corpus
        from pipeline.training.data_summary import summarise_data
        from pipeline.training.runs import plan_ablation, read_recipe

        recipe = read_recipe()
        variants: dict[str, dict[str, dict[str, Any]]] = (
            {REFERENCE: {}} | {name: table[name] for name in names} | expand_grid(grid or [])
        )
        variants.pop("", None)  # the result of `expand_grid` without a grid
        all_rows = {name: override(recipe, overrides, row=name) for name, overrides in variants.items()}
        corpus = open_corpus()
        recipes = keep_rows_with_effect(all_rows, modalities_in(corpus.examples))
        runs = plan_ablation(corpus, range(seeds))
        results = run_table(corpus, recipes, runs, read_section("run", ExecutionConfig))
        scores = write_runs(csv or Path("results/ablate.csv"), results, corpus.classes)
        ablation = summarise_table(summarise_data(corpus, recipes.values(), runs), runs, scores)
        show_comparison(ablation, by_validation=bool(grid))
        for sentence in [explain_selection(ablation)] * select + explain_linear_rows(ablation):
            console.print(plain(sentence), highlight=False)
        if ablation.warning:
            console.print(f"Warning: {ablation.warning}.", style="bold yellow", highlight=False)


def _split_names(rows: str, table: Collection[str]) -> list[str]:
    """Return the names in `--rows`; raise ParameterError if one is not in the table."""
    names = [it.strip() for it in rows.split(",") if it.strip()]
    for name in names:
        if name not in table:
            raise ParameterError(f"--rows {name}: no such row in params.yaml; {suggest(name, table)}")
    return names


def show_comparison(ablation: "Ablation", *, by_validation: bool) -> None:
    """Print the table, sorted by validation UAR if a grid was searched, and what the test can show."""
    from pipeline.base.selection import count_noun
    from pipeline.evaluation.results import count_clusters, explain_test

    title = (
        f"UAR of the fused prediction on {ablation.protocol}, in %; 95 % intervals over {count_clusters(ablation)}; "
    )
    table = Table(title=plain(title + count_noun(ablation.seeds, "seed")), title_justify="left")
    table.add_column("row", overflow="fold")
    for column in ("test UAR", "difference to full", "p", "p, Holm", "validation UAR"):
        table.add_column(column, justify="right")
    rows = sorted(ablation.rows, key=lambda row: -row.validation_uar) if by_validation else ablation.rows
    for row in rows:
        (low, high), (worst, best) = row.uar_interval, row.interval_95
        tests = ["" if value is None else f"{value:.3f}" for value in (row.p, row.p_holm)]
        difference = (
            f"{100 * row.difference:+.1f} ({100 * worst:+.1f} to {100 * best:+.1f})" if row.p is not None else ""
        )
        score = f"{100 * row.uar:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        table.add_row(plain(row.name), score, difference, *tests, f"{100 * row.validation_uar:.1f}")
    console.print(table)
    console.print(plain(explain_test(ablation)), highlight=False)
    if by_validation:
        text = "Sorted by validation UAR. Picking a row by its test UAR is a search on the test folds; --select shows "
        console.print(f"{text}what an honest choice gives.", highlight=False)
