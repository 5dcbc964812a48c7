"""The ablation table: rows that change a recipe, their runs, and the score of every run."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from pathlib import Path

import numpy as np

from data_manifest.manifest.clips import Clip
from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ParameterError
from pipeline.base.selection import shorten
from pipeline.base.tables import write_table
from pipeline.evaluation.clusters import Cluster, ClusterCounts, choose_cluster, count_answers
from pipeline.evaluation.predictions import ANSWERS, Prediction, protocol_label
from pipeline.evaluation.schemas import Scores
from pipeline.evaluation.scores import score_predictions
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.embedding_files import EmbeddingFiles
from pipeline.training.answers import modalities_in
from pipeline.training.corpus import Corpus, open_corpus
from pipeline.training.held_out import CorpusJobs, HeldOut, train_and_predict
from pipeline.training.recipe import Recipe
from pipeline.training.runs import FoldRun
from pipeline.variants.rows import TRAINING, Overrides, override_section, section_label, select_sections

log = logging.getLogger(__name__)
# The keys of `head` that have no effect on clips of one modality.
BETWEEN_MODALITIES = {"attention_depth": 0, "attention_heads": 1, "shared_classifier": True, "fusion": "mean"}


def override(recipe: Recipe, overrides: Overrides, *, row: str) -> Recipe:
    """Return the recipe with what a row changes in its sections; an unknown key raises and lists the valid ones."""
    changes = {
        section: override_section(getattr(recipe, section), values, where=f"ablations.{row}.{section}")
        for section, values in select_sections(overrides, TRAINING).items()
    }
    return replace(recipe, **changes)


@dataclass(frozen=True)
class Row:
    """What is trained for one row. The corpora of all rows have the same clips in the same order."""

    section: str  # what it changes, as text
    recipe: Recipe
    corpus: Corpus


def open_rows(
    table: Mapping[str, Overrides], recipe: Recipe, files: Mapping[str, EmbeddingFiles], folder: Path = Path()
) -> dict[str, Row]:
    """Return the rows of a table whose embeddings are in these files, each file read once; log rows without effect.

    The clips are those with a token in any row.
    """
    recipes = {row: override(recipe, overrides, row=row) for row, overrides in table.items()}
    distinct = tuple(dict.fromkeys(files[row] for row in table))
    compared = distinct if len(distinct) > 1 else ()
    corpora = {it: open_corpus(folder, embeddings=it, compared=compared) for it in distinct}
    return keep_rows_with_effect(
        {row: Row(section_label(table[row]), recipes[row], corpora[files[row]]) for row in table}
    )


def keep_rows_with_effect(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Return the rows that differ from the first on the clips of its corpus, and log the others.

    Clips of one modality have nothing to align or to attend to, and no head of the other modality learns from them.
    """
    modalities = {name for row in rows.values() for name in modalities_in(row.corpus.examples)}
    if len(modalities) != 1:
        return dict(rows)
    (modality,) = modalities
    first, *_ = (_effect(row, modality) for row in rows.values())
    kept = {
        name: row
        for number, (name, row) in enumerate(rows.items())
        if not number
        or (_effect(row, modality) != first and row.recipe.head.name not in {"visual", "acoustic"} - modalities)
    }
    if left_out := [name for name in rows if name not in kept]:
        log.warning("ablations: all clips have one modality, so these rows change nothing: %s", shorten(left_out))
    return kept


def _effect(row: Row, modality: str) -> tuple[Recipe, str]:
    """Return what shapes a row's answers for clips of one modality, with fixed values for what needs both."""
    recipe = row.recipe
    head = recipe.head.model_copy(update=BETWEEN_MODALITIES)
    train = recipe.train.model_copy(update={"modality_dropout": 0.0})
    version: str = row.corpus.provenance[modality]["version"]
    return Recipe(head, AlignmentConfig(), train), version


TestedRun = tuple[str, FoldRun, HeldOut]


def run_table(rows: Mapping[str, Row], runs: Sequence[FoldRun], config: ExecutionConfig) -> Iterator[TestedRun]:
    """Train every row's recipe on every run, and yield row, run and the predictions for its held-out parts."""
    for name, row in rows.items():
        _require_tokens(name, row, runs)
    tested = train_and_predict(corpus_jobs(rows, runs), config)
    for (name, run), held_out in zip(product(rows, runs), tested, strict=True):
        yield name, run, held_out


def corpus_jobs(rows: Mapping[str, Row], runs: Sequence[FoldRun]) -> list[CorpusJobs]:
    """Return the jobs of all rows in their order; neighbours with one corpus are together."""
    return [
        (neighbours[0].corpus, [(row.recipe, run) for row in neighbours for run in runs])
        for _, group in groupby(rows.values(), lambda row: id(row.corpus))
        if (neighbours := list(group))
    ]


def _require_tokens(name: str, row: Row, runs: Sequence[FoldRun]) -> None:
    present = count_modalities(row.corpus)
    for run in runs:
        if not any(present[clip.clip_id] for clip in run.split.train):
            raise ParameterError(
                f"ablations.{name}: with these settings, no clip of the training part of {run.name} has a token"
            )


def count_modalities(corpus: Corpus) -> dict[str, int]:
    """Return of how many modalities each clip has a token, by clip id."""
    visual, acoustic = (it.tolist() for it in corpus.modalities.values())
    return {clip.clip_id: one + other for clip, one, other in zip(corpus.clips, visual, acoustic, strict=True)}


@dataclass(frozen=True)
class Losses:
    """The clips that a row's settings lose."""

    clips: int  # without any token; their answers count as wrong
    modality: int  # answered from one modality, of which the reference has both


def count_losses(reference: Row, row: Row, clips: Iterable[Clip]) -> Losses:
    """Count what a row lacks of some clips; a clip that occurs twice counts once."""
    before, after = count_modalities(reference.corpus), count_modalities(row.corpus)
    clip_ids = {clip.clip_id for clip in clips}
    return Losses(sum(not after[it] for it in clip_ids), sum((before[it], after[it]) == (2, 1) for it in clip_ids))


@dataclass(frozen=True)
class RowScores:
    """One row's fused answers: the UAR of every run on both held-out parts, and the counts of the test parts."""

    section: str  # what the row changes, as text
    losses: Losses  # of the clips of all test parts
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


COLUMNS = ("section", "row", "protocol", "fold", "seed", "modality", "clips", "lost_clips", "lost_modality")


def write_runs(path: Path, runs: Iterable[TestedRun], rows: Mapping[str, Row]) -> dict[str, RowScores]:
    """Write one line for each row, run and answer; return the scores of the fused answer by row."""
    reference = next(iter(rows.values()))
    lines: list[list[object]] = []
    scores: dict[str, RowScores] = {}
    for name, group in groupby(runs, lambda it: it[0]):
        row, tested = rows[name], [(run, held_out) for _, run, held_out in group]
        fused, validation = [], []
        for run, held_out in tested:
            test, validated = (_scores(part, row.corpus.classes) for part in (held_out.test, held_out.validation))
            lines += _lines(name, row, run, count_losses(reference, row, run.split.test), test, validated)
            fused.append(test["fused"].uar)
            validation.append((run.split.fold, validated["fused"].uar))
        predictions = [it for _, held_out in tested for it in held_out.test]
        losses = count_losses(reference, row, [clip for run, _ in tested for clip in run.split.test])
        cluster = choose_cluster(predictions)
        counts = count_answers(predictions, "fused", cluster)
        scores[name] = RowScores(row.section, losses, fused, validation, cluster, counts)
    write_table(path, [*COLUMNS, "war", "uar", "validation_uar"], lines)
    return scores


def _lines(
    name: str, row: Row, run: FoldRun, losses: Losses, test: Mapping[str, Scores], validated: Mapping[str, Scores]
) -> Iterator[list[object]]:
    """Yield the line of every answer of a run."""
    protocol = protocol_label(run.split.protocol, speakers_shared=run.split.speakers_shared)
    for modality, scores in test.items():
        clips = sum(map(sum, scores.confusion))
        line = [row.section, name, protocol, run.split.fold, run.seed, modality, clips, losses.clips, losses.modality]
        uar = f"{validated[modality].uar:.6f}" if modality in validated else ""
        yield [*line, f"{scores.war:.6f}", f"{scores.uar:.6f}", uar]


def _scores(predictions: Sequence[Prediction], classes: Sequence[str]) -> dict[str, Scores]:
    """Return the scores of every answer that some clip has; a clip without a fused answer counts as wrong."""
    answered = {name: [it for it in predictions if it.probabilities[name] is not None] for name in ANSWERS}
    answered["fused"] = list(predictions)
    return {name: score_predictions(part, name, classes) for name, part in answered.items() if part}
