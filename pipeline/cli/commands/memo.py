"""Show and prune what was computed."""

import re
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table

from pipeline.base.errors import ParameterError, exit_with_message
from pipeline.cli.console import console


def memo(
    older_than: Annotated[str, typer.Option(help="Prune what was written longer ago: 12h, 30d, 8w.")] = "",
    max_size: Annotated[str, typer.Option(help="Prune the oldest until no more is left: 500MB, 20GB.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Really remove; without it, say what would go.")] = False,
) -> None:
    """Show what the memo holds, step by step, and prune it: everything in it can be computed again."""
    with exit_with_message():
        import time

        from pipeline.memo.entries import Memo, to_prune

        kept = Memo()
        entries = kept.entries()
        limits = {"older_than_s": _quantity(older_than, AGES_S), "max_bytes": _quantity(max_size, SIZES_BYTES)}
        going = set(to_prune(entries, now_s=time.time(), **limits))
        table = Table("step", title=str(kept.folder), title_justify="left")
        for column in ("entries", "MB", "to prune", "MB to prune"):
            table.add_column(column, justify="right")
        for step in [*sorted({entry.step for entry in entries}), None]:
            own = [entry for entry in entries if step in (None, entry.step)]
            pruned = [entry for entry in own if entry in going]
            megabytes = [f"{sum(entry.size_bytes for entry in some) / 1e6:.1f}" for some in (own, pruned)]
            table.add_row(step or "all", str(len(own)), megabytes[0], str(len(pruned)), megabytes[1])
        console.print(table)
        if yes:
            kept.remove(going)
            console.print(f"{len(going)} entries removed")
        elif going:
            console.print("Nothing was removed; --yes removes it.")


AGES_S = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
SIZES_BYTES = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def _quantity(text: str, units: Mapping[str, float]) -> float | None:
    """Return a number with its unit as a number, or None for no text."""
    if not text:
        return None
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*({'|'.join(units)})", text, re.IGNORECASE)
    if not match:
        raise ParameterError(f"{text!r} is no number with one of the units {', '.join(units)}")
    return float(match[1]) * next(size for unit, size in units.items() if unit.lower() == match[2].lower())
