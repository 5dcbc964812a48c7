"""Predictions of trained heads for their test parts."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.provenance import digest
from pipeline.evaluation.predictions import Prediction
from pipeline.heads.contract import Head
from pipeline.memo.entries import Memo
from pipeline.parallel.pool import ExecutionConfig, Pool, bounded_map
from pipeline.store.columns import Arrays
from pipeline.training.answers import predict
from pipeline.training.checkpoints import load_head
from pipeline.training.corpus import Corpus
from pipeline.training.recipe import Recipe, Trained, describe
from pipeline.training.runs import FoldRun, Job, as_replicas, group_jobs, train_group, training_code


def train_and_predict(corpus: Corpus, jobs: Sequence[Job], run: ExecutionConfig) -> Iterator[list[Prediction]]:
    """Train every job and yield the predictions for its test part; results in the memo are not computed again."""
    memo = Memo()
    with Pool(run, device=run.device) as pool:
        data = [pool.hardware, corpus.classes, corpus.version]

        def start(group: list[Job]) -> list[Arrays] | Callable[[], list[Trained]]:
            entries = [memo.read("ablate", _key(data, *job)) for job in group]
            cached = [arrays for arrays in entries if arrays is not None]
            return cached if len(cached) == len(group) else train_group(corpus, pool, as_replicas(corpus, group))

        for group, started in bounded_map(group_jobs(jobs), start, workers=lambda: pool.workers):
            if callable(started):
                for job, trained in zip(group, started(), strict=True):
                    answers = predict(trained.head, corpus.part(job[1].split.test))
                    probabilities = {name: values.numpy() for name, values in answers.items()}
                    memo.write("ablate", _key(data, *job), probabilities)
                    yield _predictions(corpus, job[1], probabilities)
            else:
                for job, arrays in zip(group, started, strict=True):
                    yield _predictions(corpus, job[1], arrays)


def _key(data: Sequence[Any], recipe: Recipe, run: FoldRun) -> str:
    """Return the memo key of one run's answers, a digest of all that shapes them."""
    parts = (run.split.train, run.split.validation, run.split.test)
    clips = [[[clip.clip_id, clip.emotion] for clip in part] for part in parts]
    code = training_code(recipe.head.name, recipe.alignment.name)
    return digest([*data, code, describe(recipe), run.seed, clips])


def load_run(corpus: Corpus, run: FoldRun, models: Path, *, allow: Collection[str] = ()) -> Head:
    """Return the saved head of a run; raise if it was trained on other embeddings than the corpus's.

    `allow` lists the plugins that it may name.
    """
    path = models / "folds" / f"{run.name}.safetensors"
    head, card = load_head(path, allow=allow)
    card.require_match(corpus.classes, corpus.provenance, path)
    return head


def predict_runs(
    corpus: Corpus, runs: Sequence[FoldRun], models: Path, *, allow: Collection[str] = ()
) -> list[Prediction]:
    """Return the predictions of every run's saved head for its test part; `allow` lists plugins that it may name."""
    predictions: list[Prediction] = []
    for run in runs:
        answers = predict(load_run(corpus, run, models, allow=allow), corpus.part(run.split.test))
        predictions += _predictions(corpus, run, {name: values.numpy() for name, values in answers.items()})
    return predictions


def _predictions(corpus: Corpus, run: FoldRun, answers: Arrays) -> list[Prediction]:
    """Return probabilities (n, C) by answer as predictions for the n clips of the run's test part."""
    split = run.split
    return [
        Prediction(
            protocol=split.protocol,
            speakers_shared=split.speakers_shared,
            fold=split.fold,
            seed=run.seed,
            clip_id=clip.clip_id,
            speaker=clip.speaker,
            truth=corpus.classes.index(clip.emotion),
            probabilities={name: _without_nan(values[row].tolist()) for name, values in answers.items()},
        )
        for row, clip in enumerate(split.test)
    ]


def _without_nan(probabilities: list[float]) -> list[float] | None:
    return None if math.isnan(probabilities[0]) else probabilities
