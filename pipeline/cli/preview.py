"""`fdan ablate --dry-run`: what a table would compute, without computing or writing anything."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.table import Table

from pipeline.ablation.table import corpus_jobs, open_rows
from pipeline.base.selection import NAMES_SHOWN, count_noun, shorten
from pipeline.cli.console import console, plain
from pipeline.memo.entries import Entry, Memo, seconds_per_result
from pipeline.memo.extraction import count_in_memo
from pipeline.parallel.pool import ExecutionConfig
from pipeline.training.held_out import count_runs_in_memo
from pipeline.training.recipe import Recipe
from pipeline.training.runs import plan_ablation
from pipeline.variants.plan import Plan
from pipeline.variants.rows import REFERENCE, Rows


class Work(NamedTuple):
    """The results of one step."""

    step: str
    rows: Sequence[str]
    from_memo: int
    missing: int
    seconds: float | None  # for all that is missing; None: unknown
    is_upper_bound: bool = False


def show_preview(rows: Rows, plan: Plan, recipe: Recipe, run: ExecutionConfig, seeds: int) -> None:
    """Print the rows, and for each step how much the memo holds, how much is missing, and about how long that takes."""
    entries = Memo().entries()
    extraction = list(_extraction(plan, entries))
    training = _training(rows, plan, recipe, run, entries, seeds)
    console.print(f"{count_noun(len(rows), 'row')}:", highlight=False)
    for row in rows:
        console.print(f"  {plain(row)}", highlight=False, soft_wrap=True)
    table = Table("step", "from the memo", "to compute", "about")
    table.add_column("for", overflow="fold")  # a name that is cut could be that of another row
    for work in (*extraction, training):
        most = "up to " if work.is_upper_bound else ""
        about = f"{most}{format_seconds(work.seconds)}" if work.seconds != 0 else "0 s"
        counts = str(work.from_memo), f"{most}{work.missing}" if work.missing else "0"
        table.add_row(work.step, *counts, about, plain(_name_rows(work.rows, rows)))
    console.print(table)
    for row, names in plan.unknown.items():
        console.print(plain(f"{row}: its work is unknown until its weights are here: {', '.join(names)}"))
    times = [work.seconds for work in (*extraction, training)]
    total = None if plan.unknown or None in times else sum(filter(None, times))
    console.print(
        f"In all: {'about ' if total else ''}{format_seconds(total)}, at the rate of each step's last results in the "
        "memo. Nothing was computed or written.",
        highlight=False,
    )


def _name_rows(names: Sequence[str], rows: Rows) -> str:
    """Return the names of rows, one per line: those of a grid have commas."""
    if len(names) == len(rows):
        return "all rows"
    more = len(names) - NAMES_SHOWN
    return "\n".join([*map(shorten, ([it] for it in names[:NAMES_SHOWN])), *[f"and {more} more"] * (more > 0)])


def format_seconds(seconds: float | None) -> str:
    """Return a duration as text: `unknown`, `40 s`, `12 min` or `3.5 h`."""
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _extraction(plan: Plan, entries: Sequence[Entry]) -> Iterator[Work]:
    for task in plan.tasks:
        step, media = task.step(), task.media()
        held = count_in_memo(media.values(), step)
        missing = len(media) - held
        yield Work(step.name, task.rows, held, missing, _time(entries, step.name, missing), task.is_upper_bound)


def _training(
    rows: Rows, plan: Plan, recipe: Recipe, run: ExecutionConfig, entries: Sequence[Entry], seeds: int
) -> Work:
    """Return the runs. A row whose embeddings are not extracted yet has none in the memo that could be recognised."""
    ready = open_rows({row: it for row, it in rows.items() if row not in plan.waiting}, recipe, plan.files)
    runs = plan_ablation(ready[REFERENCE].corpus, range(seeds))
    held = count_runs_in_memo(corpus_jobs(ready, runs), run)
    missing = len(runs) * (len(ready) + len(plan.waiting)) - held
    return Work("ablate (runs)", list(rows), held, missing, _time(entries, "ablate", missing))


def _time(entries: Sequence[Entry], step: str, missing: int) -> float | None:
    if not missing:
        return 0
    rate = seconds_per_result(entries, step)
    return None if rate is None else missing * rate
