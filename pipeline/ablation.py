"""Does it help? Every row of a table trained on the same folds and seeds, compared in pairs."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from pipeline.errors import ParameterError
from pipeline.evaluation import ANSWERS, Prediction, Speakers, named, percentiles, scores
from pipeline.experiments import Corpus, Run, test_runs
from pipeline.files import write_text
from pipeline.parallel import RunConfig
from pipeline.params import check
from pipeline.registry import suggestion
from pipeline.training import Recipe

Overrides = Mapping[str, Mapping[str, Any]]
REFERENCE = "full"


def override(recipe: Recipe, overrides: Overrides, *, row: str) -> Recipe:
    """Return the recipe with some keys of its sections changed; an unknown one is an error that lists the valid."""
    sections = {name: getattr(recipe, name) for name in ("head", "alignment", "train")}
    for section, changes in overrides.items():
        if section not in sections:
            raise ParameterError(f"ablations.{row}: unknown section {section!r}; {suggestion(section, sections)}")
        values = sections[section].model_dump() | dict(changes)
        sections[section] = check(values, type(sections[section]), where=f"ablations.{row}.{section}")
    return Recipe(**sections)


def cross(grid: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rows of a grid, as in head.width=128,256: every combination, named by what it changes."""
    axes = []
    for text in grid:
        match = re.fullmatch(r"(\w+)\.(\w+)=(.+)", text)
        if not match:
            raise ParameterError(f"--grid {text}: write it as section.key=value,value, as in head.width=128,256")
        section, key, values = match.groups()
        axes.append([(section, key, value.strip()) for value in values.split(",")])
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for chosen in product(*axes):
        overrides: dict[str, dict[str, Any]] = {}
        for section, key, value in chosen:
            overrides.setdefault(section, {})[key] = value
        rows[", ".join(f"{section}.{key}={value}" for section, key, value in chosen)] = overrides
    return rows


Tested = tuple[str, Run, list[Prediction]]


def run_table(
    corpus: Corpus, recipes: Mapping[str, Recipe], runs: Sequence[Run], config: RunConfig
) -> Iterator[Tested]:
    """Train every row's recipe on every run, and yield what it says of the run's test part."""
    jobs = [(row, recipe, planned) for row, recipe in recipes.items() for planned in runs]
    answers = test_runs(corpus, [(recipe, planned) for _, recipe, planned in jobs], config)
    for (row, _, planned), told in zip(jobs, answers, strict=True):
        yield row, planned, told


@dataclass(frozen=True)
class Row:
    """What came of one row: its runs' UAR, and all its predictions together drawn by speakers, (draws,)."""

    runs: list[float]
    drawn: NDArray[np.float64]


def write_runs(path: Path, tested: Iterable[Tested], classes: Sequence[str]) -> dict[str, Row]:
    """Write one line for each row, run and answer; return what came of the rows, by the fused answer."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["row", "protocol", "fold", "seed", "modality", "clips", "war", "uar"])
    fused: dict[str, Row] = {}
    for row, group in groupby(tested, lambda it: it[0]):
        runs, everything = [], []
        for _, run, predictions in group:
            for modality in ANSWERS:
                known = [it for it in predictions if it.probabilities[modality] is not None]
                if known:
                    figures = scores([it.truth for it in known], [it.choice(modality) for it in known], classes)
                    protocol = named(run.split.protocol, speakers_shared=run.split.speakers_shared)
                    line = [row, protocol, run.split.fold, run.seed, modality, len(known)]
                    table.writerow([*line, f"{figures['war']:.6f}", f"{figures['uar']:.6f}"])
                    if modality == "fused":
                        runs.append(figures["uar"])
            everything += predictions
        fused[row] = Row(runs, Speakers.of(everything).draws(everything, "fused")["uar"])
    write_text(path, text.getvalue())
    return fused


def compare(rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    """Return for each row its mean, spread and difference to the reference, with an interval and a paired test.

    Every row has the same runs in the same order. The test is Wilcoxon's signed-rank test over runs, two-sided,
    corrected by Holm for the number of rows compared; the interval is that of the difference when the same speakers
    are drawn for both rows.
    """
    reference = rows[REFERENCE]
    told: list[dict[str, Any]] = []
    for name, row in rows.items():
        difference = np.subtract(row.runs, reference.runs)
        told.append(
            {
                "row": name,
                "runs": len(row.runs),
                "mean": float(np.mean(row.runs)),
                "sd": float(np.std(row.runs, ddof=1)) if len(row.runs) > 1 else None,
                "difference": float(difference.mean()),
                "interval_95": percentiles(row.drawn - reference.drawn),
                "p": None if name == REFERENCE else _paired(difference),
            }
        )
    for row_told, corrected in zip(told, holm([it["p"] for it in told]), strict=True):
        row_told["p_holm"] = corrected
    return told


def least_p(runs: int) -> float:
    """Return the smallest p-value that the test can give with so many runs, before any correction."""
    return float(min(1.0, 2.0 ** (1 - runs)))


def _paired(difference: np.ndarray) -> float:
    """Return the p-value; 1 where no run differs at all, for which the test is not defined."""
    return float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's corrected p-values; None stays None and does not count."""
    order = sorted((value, index) for index, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, index) in enumerate(order):
        highest = max(highest, min(1.0, value * (len(order) - rank)))
        corrected[index] = highest
    return corrected
