"""The ablation table: rows that change a recipe, their runs, and the score of every run."""

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ParameterError
from pipeline.base.params import check
from pipeline.base.registry import suggest
from pipeline.base.selection import shorten
from pipeline.base.tables import write_table
from pipeline.evaluation.clusters import Cluster, ClusterCounts, choose_cluster, count_answers
from pipeline.evaluation.predictions import ANSWERS, Prediction, protocol_label
from pipeline.evaluation.schemas import Scores
from pipeline.evaluation.scores import score_predictions
from pipeline.parallel.pool import ExecutionConfig
from pipeline.training.corpus import Corpus
from pipeline.training.held_out import HeldOut, train_and_predict
from pipeline.training.recipe import Recipe
from pipeline.training.runs import FoldRun

log = logging.getLogger(__name__)
# The keys of `head` that have no effect on clips of one modality.
BETWEEN_MODALITIES = {"attention_depth": 0, "attention_heads": 1, "shared_classifier": True, "fusion": "mean"}
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


def keep_rows_with_effect(recipes: Mapping[str, Recipe], modalities: Collection[str]) -> dict[str, Recipe]:
    """Return the rows that differ from the first on clips of these modalities, and log the others.

    Clips of one modality have nothing to align or to attend to, and no head of the other modality learns from them.
    """
    if len(modalities) == 2:
        return dict(recipes)
    first, *_ = map(_without_second_modality, recipes.values())
    kept = {
        name: recipe
        for number, (name, recipe) in enumerate(recipes.items())
        if not number
        or (
            _without_second_modality(recipe) != first and recipe.head.name not in {"visual", "acoustic"} - {*modalities}
        )
    }
    if left_out := [name for name in recipes if name not in kept]:
        log.warning("ablations: all clips have one modality, so these rows change nothing: %s", shorten(left_out))
    return kept


def _without_second_modality(recipe: Recipe) -> Recipe:
    """Return the recipe with fixed values for all that needs both modalities."""
    head = recipe.head.model_copy(update=BETWEEN_MODALITIES)
    train = recipe.train.model_copy(update={"modality_dropout": 0.0})
    return Recipe(head, AlignmentConfig(), train)


TestedRun = tuple[str, FoldRun, HeldOut]


def run_table(
    corpus: Corpus, recipes: Mapping[str, Recipe], runs: Sequence[FoldRun], config: ExecutionConfig
) -> Iterator[TestedRun]:
    """Train every row's recipe on every run, and yield row, run and the predictions for its held-out parts."""
    jobs = [(row, recipe, run) for row, recipe in recipes.items() for run in runs]
    tested = train_and_predict(corpus, [(recipe, run) for _, recipe, run in jobs], config)
    for (row, _, run), held_out in zip(jobs, tested, strict=True):
        yield row, run, held_out


@dataclass(frozen=True)
class RowScores:
    """One row's fused answers: the UAR of every run on both held-out parts, and the counts of the test parts."""

    runs: list[float]
    validation: list[tuple[int, float]]  # for each run its fold, and the UAR on its validation part
    cluster: Cluster
    counts: ClusterCounts

    @property
    def validation_uar(self) -> float:
        """The mean UAR over the validation parts of all runs."""
        return float(np.mean([value for _, value in self.validation]))

    def fold_validation_uar(self, fold: int) -> float:
        """Return the mean UAR over the seeds of a fold, on its validation part."""
        return float(np.mean([value for it, value in self.validation if it == fold]))


def write_runs(path: Path, runs: Iterable[TestedRun], classes: Sequence[str]) -> dict[str, RowScores]:
    """Write one line for each row, run and answer; return the scores of the fused answer by row."""
    columns = ["row", "protocol", "fold", "seed", "modality", "clips", "war", "uar", "validation_uar"]
    lines: list[list[object]] = []
    rows: dict[str, RowScores] = {}
    for row, group in groupby(runs, lambda it: it[0]):
        fused, validation, row_predictions = [], [], []
        for _, run, held_out in group:
            protocol = protocol_label(run.split.protocol, speakers_shared=run.split.speakers_shared)
            tested, validated = (_scores(part, classes) for part in (held_out.test, held_out.validation))
            for modality, scores in tested.items():
                line = [row, protocol, run.split.fold, run.seed, modality, sum(map(sum, scores.confusion))]
                line += [f"{scores.war:.6f}", f"{scores.uar:.6f}"]
                lines.append([*line, f"{validated[modality].uar:.6f}" if modality in validated else ""])
            fused.append(tested["fused"].uar)
            validation.append((run.split.fold, validated["fused"].uar))
            row_predictions += held_out.test
        cluster = choose_cluster(row_predictions)
        rows[row] = RowScores(fused, validation, cluster, count_answers(row_predictions, "fused", cluster))
    write_table(path, columns, lines)
    return rows


def _scores(predictions: Sequence[Prediction], classes: Sequence[str]) -> dict[str, Scores]:
    """Return the scores of every answer that some clip has; a clip without a fused answer counts as wrong."""
    answered = {name: [it for it in predictions if it.probabilities[name] is not None] for name in ANSWERS}
    answered["fused"] = list(predictions)
    return {name: score_predictions(part, name, classes) for name, part in answered.items() if part}
