"""Training of ensembles: the members of many runs together, each run once on all its clips and once to be validated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from pipeline.heads.contract import Head
from pipeline.heads.ensemble import as_one_head
from pipeline.heads.examples import Examples
from pipeline.training._epoch import Epoch
from pipeline.training.answers import modalities_in, predict, uar
from pipeline.training.recipe import Recipe, Trained, build_head
from pipeline.training.replicas import Replica, TrainedReplica, train_together
from pipeline.training.speakers import normalise_speakers


@dataclass(frozen=True)
class EnsembleRun:
    """One run: its recipe and seed, and the positions (n,) of its parts in the examples."""

    recipe: Recipe
    training: Tensor
    validation: Tensor | None
    seed: int


def train_ensembles(
    examples: Examples, runs: Sequence[EnsembleRun], *, classes: int, device: str = "cpu"
) -> list[Trained]:
    """Train the heads of runs of one architecture. The examples are those of the whole corpus.

    A head learns from the training and the validation part. To answer for validation clips that it has not learned
    from, the same number of members is trained on the training part alone. It learns nothing from clips without
    tokens, but they count in the validation part, as wrong.
    """
    examples = normalise_speakers(examples, runs[0].recipe.train)
    count = members(runs[0].recipe, examples, classes)
    present = examples.visual.present | examples.acoustic.present
    replicas = [it for run in runs for it in _replicas(run, count, present)]
    trained = iter(train_together(examples, replicas, classes=classes, device=device))
    results = []
    for run in runs:
        final = [next(trained) for _ in range(count)]
        if run.validation is None:
            results.append(Trained(_join(final), _mean_curve(final), {}, float("nan"), final[0].note))
            continue
        selected = [next(trained) for _ in range(count)]
        part = examples.take(run.validation)
        answers = predict(_join(selected), part, trained=modalities_in(examples.take(run.training)))
        score = uar(answers["fused"], part.labels)
        results.append(Trained(_join(final), _mean_curve(selected), answers, score, final[0].note))
    return results


def members(recipe: Recipe, examples: Examples, classes: int) -> int:
    """Return the number of members: one for heads that `fit` trains completely, which would all be the same."""
    parameters = build_head(recipe.head, examples, classes).parameters()
    return recipe.train.ensemble if any(it.requires_grad for it in parameters) else 1


def member_seed(seed: int, number: int) -> int:
    """Return the seed of a member, which depends on nothing but the run's seed and the member's number."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _replicas(run: EnsembleRun, count: int, present: Tensor) -> list[Replica]:
    """Return the replicas of a run, of the clips that are `present` (clips,): first the final ones."""
    training = run.training[present[run.training]]
    validation = None if run.validation is None else run.validation[present[run.validation]]
    everything = training if validation is None else torch.cat([training, validation])
    final = [Replica(run.recipe, everything, None, member_seed(run.seed, number)) for number in range(count)]
    if validation is None:
        return final
    selected = validation if len(validation) else None
    return final + [replace(it, training=training, validation=selected) for it in final]


def _join(trained: Sequence[TrainedReplica]) -> Head:
    return as_one_head([it.head for it in trained])


def _mean_curve(trained: Sequence[TrainedReplica]) -> list[Epoch]:
    """Return the mean of the members' curves."""
    return [
        Epoch(
            rows[0].epoch,
            fmean(it.cross_entropy for it in rows),
            tuple(map(fmean, zip(*(it.alignment for it in rows), strict=True))),
            fmean(it.validation_uar for it in rows),
        )
        for rows in zip(*(it.curve for it in trained), strict=True)
    ]
