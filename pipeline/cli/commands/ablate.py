"""Compare rows that change the head, its training, or what shapes a clip's tokens."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.base.errors import ParameterError, exit_with_message
from pipeline.base.registry import suggest
from pipeline.cli.console import console, plain

if TYPE_CHECKING:
    from pipeline.evaluation.ablation_schemas import Ablation
    from pipeline.parallel.pool import ExecutionConfig
    from pipeline.variants.plan import Plan
    from pipeline.variants.rows import Rows


def ablate(
    rows: Annotated[str, typer.Option(help="Rows of `ablations` in params.yaml, for example full,concat.")] = "",
    grid: Annotated[
        list[str] | None,
        typer.Option(
            help="Values to combine, for example head.width=128,256 or faces.detector=cascade,mirrored:build."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="The number of seeds per fold.")] = 1,
    csv: Annotated[Path | None, typer.Option(help="The CSV file for the results, one line per run.")] = None,
    select: Annotated[
        bool, typer.Option("--select", help="Also show the UAR if each fold's validation part chooses the row.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the rows, and how much would be computed; compute nothing.")
    ] = False,
) -> None:
    """Train each row and compare it with the row `full`, on the same test clips.

    By default, all rows are trained. A row may change faces, spectrograms and backbones, too: what the stage `variants`
    has not extracted for it is extracted now. Clips and runs that were computed before come from the memo.
    """
    with exit_with_message():
        table = _choose_rows(rows, grid or [])
        # After the rows are checked: these imports take seconds.
        from pipeline.ablation.comparison import summarise_table
        from pipeline.ablation.table import open_rows, override, run_table, write_runs
        from pipeline.base.params import read_section
        from pipeline.cli.preview import show_preview
        from pipeline.parallel.pool import ExecutionConfig
        from pipeline.training.data_summary import summarise_data
        from pipeline.training.runs import plan_ablation, read_recipe
        from pipeline.variants.rows import REFERENCE

        recipe, run = read_recipe(), read_section("run", ExecutionConfig)
        for name, overrides in table.items():
            override(recipe, overrides, row=name)  # raises before anything is extracted
        plan = _plan(table, run, fetch=not dry_run)
        if dry_run:
            show_preview(table, plan, recipe, run, seeds)
            return
        plan.extract()
        opened = open_rows(table, recipe, plan.files)
        corpus = opened[REFERENCE].corpus
        runs = plan_ablation(corpus, range(seeds))
        scores = write_runs(csv or Path("results/ablate.csv"), run_table(opened, runs, run), opened)
        recipes = [row.recipe for row in opened.values()]
        ablation = summarise_table(summarise_data(corpus, recipes, runs), runs, scores)
        _show(ablation, by_validation=bool(grid), select=select)


def _show(ablation: "Ablation", *, by_validation: bool, select: bool) -> None:
    """Print the table, and in words what it shows."""
    from pipeline.cli.comparison import show_comparison
    from pipeline.evaluation.results import explain_linear_rows, explain_selection

    show_comparison(ablation, by_validation=by_validation)
    for sentence in [explain_selection(ablation)] * select + explain_linear_rows(ablation):
        console.print(plain(sentence), highlight=False)
    if ablation.warning:
        console.print(f"Warning: {ablation.warning}.", style="bold yellow", highlight=False)


def _choose_rows(rows: str, grid: list[str]) -> "Rows":
    """Return the rows that the arguments name, the reference first; without arguments, all rows of params.yaml."""
    from pipeline.variants.rows import REFERENCE, expand_grid, order_rows, read_ablations

    table = read_ablations()
    names = _split_names(rows, table) or ([] if grid else list(table))
    return order_rows({REFERENCE: {}} | {name: table[name] for name in names} | expand_grid(grid))


def _plan(table: "Rows", run: "ExecutionConfig", *, fetch: bool) -> "Plan":
    """Return the embeddings of all rows; rows that change the training alone need no code that extracts them."""
    from pipeline.store.embedding_files import EmbeddingFiles
    from pipeline.variants.plan import Plan
    from pipeline.variants.reference import require_current_settings
    from pipeline.variants.rows import needs_extraction

    require_current_settings()
    if not needs_extraction(table):
        return Plan(dict.fromkeys(table, EmbeddingFiles()))
    from pipeline.variants.extraction import cache_shelf, plan_rows

    return plan_rows(table, run, cache_shelf, fetch=fetch)


def _split_names(rows: str, table: Collection[str]) -> list[str]:
    """Return the names in `--rows`; raise ParameterError if one is not in the table."""
    names = [it.strip() for it in rows.split(",") if it.strip()]
    for name in names:
        if name not in table:
            raise ParameterError(f"--rows {name}: no such row in params.yaml; {suggest(name, table)}")
    return names
