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

from pipeline.base.errors import ParameterError
from pipeline.base.files import write_text
from pipeline.base.params import check
from pipeline.base.registry import suggest
from pipeline.evaluation.intervals import Speakers
from pipeline.evaluation.predictions import ANSWERS, Prediction, protocol_label
from pipeline.evaluation.scores import scores
from pipeline.parallel.pool import ExecutionConfig
from pipeline.training.corpus import Corpus
from pipeline.training.held_out import test_runs
from pipeline.training.recipe import Recipe
from pipeline.training.runs import FoldRun

Overrides = Mapping[str, Mapping[str, Any]]


def override(recipe: Recipe, overrides: Overrides, *, row: str) -> Recipe:
    """Return the recipe with some keys of its sections changed; an unknown one is an error that lists the valid."""
    sections = {name: getattr(recipe, name) for name in ("head", "alignment", "train")}
    for section, changes in overrides.items():
        if section not in sections:
            raise ParameterError(f"ablations.{row}: unknown section {section!r}; {suggest(section, sections)}")
        values = sections[section].model_dump() | dict(changes)
        sections[section] = check(values, type(sections[section]), where=f"ablations.{row}.{section}")
    return Recipe(**sections)


def expand_grid(grid: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
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


Tested = tuple[str, FoldRun, list[Prediction]]


def run_table(
    corpus: Corpus, recipes: Mapping[str, Recipe], runs: Sequence[FoldRun], config: ExecutionConfig
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
                    protocol = protocol_label(run.split.protocol, speakers_shared=run.split.speakers_shared)
                    line = [row, protocol, run.split.fold, run.seed, modality, len(known)]
                    table.writerow([*line, f"{figures['war']:.6f}", f"{figures['uar']:.6f}"])
                    if modality == "fused":
                        runs.append(figures["uar"])
            everything += predictions
        fused[row] = Row(runs, Speakers.of(everything).draws(everything, "fused")["uar"])
    write_text(path, text.getvalue())
    return fused
