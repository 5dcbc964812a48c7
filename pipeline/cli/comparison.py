"""The table that `fdan ablate` prints."""

from itertools import groupby

from rich import box
from rich.table import Table

from pipeline.base.selection import count_noun
from pipeline.cli.console import console, plain
from pipeline.evaluation.ablation_schemas import Ablation, AblationRow
from pipeline.evaluation.results import count_clusters, explain_test

WIDE = 150  # columns of a terminal in which a row takes one line
HEADINGS = ("test UAR", "difference to full", "p", "p, Holm", "validation UAR", "lost clips", "lost modality")
NARROW_HEADINGS = ("test UAR", "difference\nto full", "p", "p,\nHolm", "val.\nUAR", "lost\nclips", "lost\nmod.")


def show_comparison(ablation: Ablation, *, by_validation: bool) -> None:
    """Print the rows by section, and what the test can show; if a grid was searched, sort a section by validation UAR.

    Names are never cut: in a narrow terminal, they take several lines.
    """
    title = (
        f"UAR of the fused prediction on {ablation.protocol}, in %; 95 % intervals over {count_clusters(ablation)}; "
    )
    title = plain(title + count_noun(ablation.seeds, "seed"))
    is_wide = console.width >= WIDE
    table = Table(title=title, title_justify="left", box=box.HEAVY_HEAD if is_wide else None)
    if not is_wide:
        table.padding = (0, 1, 0, 0)
    table.add_column("row", overflow="fold")
    for heading in HEADINGS if is_wide else NARROW_HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for section, group in groupby(ablation.rows, lambda row: row.section):
        table.add_section()
        table.add_row(f"[bold]{plain(section)}[/bold]")
        for row in sorted(group, key=lambda row: -row.validation_uar if by_validation else 0):
            table.add_row(f"  {plain(row.name)}" if is_wide else plain(row.name), *_cells(row, is_wide=is_wide))
    console.print(table)
    for sentence in _explanations(ablation, by_validation=by_validation):
        console.print(plain(sentence), highlight=False)


def _cells(row: AblationRow, *, is_wide: bool) -> list[str]:
    (low, high), (worst, best) = row.uar_interval, row.interval_95
    score = _with_interval(f"{100 * row.uar:.1f}", f"{100 * low:.1f} to {100 * high:.1f}", is_wide=is_wide)
    difference = _with_interval(
        f"{100 * row.difference:+.1f}", f"{100 * worst:+.1f} to {100 * best:+.1f}", is_wide=is_wide
    )
    tests = ["" if value is None else f"{value:.3f}" for value in (row.p, row.p_holm)]
    rest = f"{100 * row.validation_uar:.1f}", str(row.lost_clips), str(row.lost_modality)
    return [score, "" if row.p is None else difference, *tests, *rest]


def _with_interval(value: str, interval: str, *, is_wide: bool) -> str:
    return f"{value} ({interval})" if is_wide else f"{value}\n{interval}"


def _explanations(ablation: Ablation, *, by_validation: bool) -> list[str]:
    sentences = [explain_test(ablation)]
    if any(row.lost_clips or row.lost_modality for row in ablation.rows):
        sentences.append(
            "Lost clips have no token in a row, and count as wrong. Lost modality: clips answered from one modality, "
            "of which full has both."
        )
    if by_validation:
        sentences.append(
            "Sorted by validation UAR within each section. Picking a row by its test UAR is a search on the test "
            "folds; --select shows what an honest choice gives."
        )
    return sentences
