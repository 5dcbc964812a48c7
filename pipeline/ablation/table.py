"""The ablation table: rows that change a recipe, their runs, and the score of every run."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ParameterError
from pipeline.base.params import check
from pipeline.base.registry import suggest
from pipeline.base.tables import write_table
from pipeline.evaluation.intervals import SpeakerBootstrap
from pipeline.evaluation.predictions import ANSWERS, Prediction, protocol_label
from pipeline.evaluation.scores import score_predictions
from pipeline.parallel.pool import ExecutionConfig
from pipeline.training.corpus import Corpus
from pipeline.training.held_out import train_and_predict
from pipeline.training.recipe import Recipe
from pipeline.training.runs import FoldRun

Overrides = Mapping[str, Mapping[str, Any]]


def override(recipe: Recipe, overrides: Overrides, *, row: str) -> Recipe:
    """Return the recipe with some keys of its sections changed; an unknown key raises and lists the valid ones."""
    sections = {name: getattr(recipe, name) for name in ("head", "alignment", "train")}
    for section, changes in overrides.items():
        if section not in sections:
            raise ParameterError(f"ablations.{row}: unknown section {section!r}; {suggest(section, sections)}")
        values = sections[section].model_dump() | dict(changes)
        sections[section] = check(values, type(sections[section]), where=f"ablations.{row}.{section}")
    return Recipe(**sections)


def expand_grid(grid: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rows of a grid such as head.width=128,256: every combination, named by the keys that it changes."""
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


TestedRun = tuple[str, FoldRun, list[Prediction]]


def run_table(
    corpus: Corpus, recipes: Mapping[str, Recipe], runs: Sequence[FoldRun], config: ExecutionConfig
) -> Iterator[TestedRun]:
    """Train every row's recipe on every run, and yield row, run and the predictions for the run's test part."""
    jobs = [(row, recipe, run) for row, recipe in recipes.items() for run in runs]
    tested = train_and_predict(corpus, [(recipe, run) for _, recipe, run in jobs], config)
    for (row, _, run), predictions in zip(jobs, tested, strict=True):
        yield row, run, predictions


@dataclass(frozen=True)
class RowScores:
    """UAR of one row's fused answers: of every run, and of all predictions together by bootstrap sample, (samples,)."""

    runs: list[float]
    bootstrap: NDArray[np.float64]


def write_runs(path: Path, tested: Iterable[TestedRun], classes: Sequence[str]) -> dict[str, RowScores]:
    """Write one line for each row, run and answer; return the scores of the fused answer by row."""
    columns = ["row", "protocol", "fold", "seed", "modality", "clips", "war", "uar"]
    lines: list[list[object]] = []
    rows: dict[str, RowScores] = {}
    for row, group in groupby(tested, lambda it: it[0]):
        fused, row_predictions = [], []
        for _, run, predictions in group:
            for modality in ANSWERS:
                answered = [it for it in predictions if it.probabilities[modality] is not None]
                if answered:
                    scores = score_predictions(answered, modality, classes)
                    protocol = protocol_label(run.split.protocol, speakers_shared=run.split.speakers_shared)
                    line = [row, protocol, run.split.fold, run.seed, modality, len(answered)]
                    lines.append([*line, f"{scores.war:.6f}", f"{scores.uar:.6f}"])
                    if modality == "fused":
                        fused.append(scores.uar)
            row_predictions += predictions
        bootstrap = SpeakerBootstrap.of(row_predictions)
        rows[row] = RowScores(fused, bootstrap.sample_scores(row_predictions, "fused")["uar"])
    write_table(path, columns, lines)
    return rows
