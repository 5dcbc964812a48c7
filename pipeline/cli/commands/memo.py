"""Show and prune the memo."""

import re
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table

from pipeline.base.errors import ParameterError, exit_with_message
from pipeline.cli.console import console, plain


def memo(
    older_than: Annotated[str, typer.Option(help="Prune entries older than this: 12h, 30d, 8w.")] = "",
    max_size: Annotated[str, typer.Option(help="Prune the oldest entries until the rest fits: 500MB, 20GB.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show what would be deleted.")] = False,
) -> None:
    """Show the cached per-clip results of each step, and prune them; the pipeline can compute all of them again."""
    with exit_with_message():
        import time

        from pipeline.memo.entries import Memo, entries_to_prune

        store = Memo()
        entries = store.entries()
        limits = {"older_than_s": _parse_quantity(older_than, AGES_S), "max_bytes": _parse_quantity(max_size, BYTES)}
        to_prune = set(entries_to_prune(entries, now_s=time.time(), **limits))
        table = Table("step", title=plain(store.folder), title_justify="left")
        for column in ("entries", "MB", "to prune", "MB to prune"):
            table.add_column(column, justify="right")
        for step in [*sorted({entry.step for entry in entries}), None]:
            of_step = [entry for entry in entries if step in (None, entry.step)]
            pruned = [entry for entry in of_step if entry in to_prune]
            megabytes = [f"{sum(entry.size_bytes for entry in group) / 1e6:.1f}" for group in (of_step, pruned)]
            table.add_row(plain(step or "all"), str(len(of_step)), megabytes[0], str(len(pruned)), megabytes[1])
        console.print(table)
        if yes:
            store.remove(to_prune)
            console.print(f"{len(to_prune)} {'entry' if len(to_prune) == 1 else 'entries'} deleted")
        elif to_prune:
            console.print(f"Nothing was deleted; add --yes to delete the {len(to_prune)} entries.")


AGES_S = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
BYTES = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def _parse_quantity(text: str, units: Mapping[str, float]) -> float | None:
    """Return a number with a unit, such as "30d", in the base unit; None for an empty text."""
    if not text:
        return None
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*({'|'.join(units)})", text, re.IGNORECASE)
    if not match:
        raise ParameterError(f"{text!r} is not a number with a unit ({', '.join(units)})")
    return float(match[1]) * next(size for unit, size in units.items() if unit.lower() == match[2].lower())
