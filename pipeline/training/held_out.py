"""What trained heads say of their test parts: clips that they never saw."""

import math
from collections.abc import Callable, Iterator, Sequence
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


def test_runs(corpus: Corpus, jobs: Sequence[Job], run: ExecutionConfig) -> Iterator[list[Prediction]]:
    """Yield what every job's head says of its test part; what was trained before is taken from the memo."""
    memo = Memo()
    with Pool(run, device=run.device) as pool:
        data = [pool.hardware, corpus.classes, corpus.version]

        def start(group: list[Job]) -> list[Arrays] | Callable[[], list[Trained]]:
            known = [memo.read("ablate", _key(data, *job)) for job in group]
            remembered = [arrays for arrays in known if arrays is not None]
            return (
                remembered if len(remembered) == len(group) else train_group(corpus, pool, as_replicas(corpus, group))
            )

        for group, started in bounded_map(group_jobs(jobs), start, workers=lambda: pool.workers):
            if callable(started):
                for job, trained in zip(group, started(), strict=True):
                    answers = predict(trained.head, corpus.part(job[1].split.test))
                    told = {name: values.numpy() for name, values in answers.items()}
                    memo.write("ablate", _key(data, *job), told)
                    yield _predictions(corpus, job[1], told)
            else:
                for job, arrays in zip(group, started, strict=True):
                    yield _predictions(corpus, job[1], arrays)


def _key(data: Sequence[Any], recipe: Recipe, run: FoldRun) -> str:
    """Return what names the answers of one run: all that shapes them."""
    parts = (run.split.train, run.split.validation, run.split.test)
    clips = [[[clip.clip_id, clip.emotion] for clip in part] for part in parts]
    code = training_code(recipe.head.name, recipe.alignment.name)
    return digest([*data, code, describe(recipe), run.seed, clips])


def load_run(corpus: Corpus, run: FoldRun, models: Path) -> Head:
    """Return the saved head of a run, which must have been trained on this corpus's embeddings."""
    path = models / "folds" / f"{run.name}.safetensors"
    head, card = load_head(path)
    card.require_match(corpus.classes, corpus.provenance, path)
    return head


def predict_runs(corpus: Corpus, runs: Sequence[FoldRun], models: Path) -> list[Prediction]:
    """Return what every run's saved head says of the clips that it never saw."""
    predictions: list[Prediction] = []
    for run in runs:
        answers = predict(load_run(corpus, run, models), corpus.part(run.split.test))
        predictions += _predictions(corpus, run, {name: values.numpy() for name, values in answers.items()})
    return predictions


def _predictions(corpus: Corpus, run: FoldRun, answers: Arrays) -> list[Prediction]:
    """Return probabilities (n, C) by modality as predictions of the n clips of the run's test part."""
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
            probabilities={name: _known(values[row].tolist()) for name, values in answers.items()},
        )
        for row, clip in enumerate(split.test)
    ]


def _known(probabilities: list[float]) -> list[float] | None:
    return None if math.isnan(probabilities[0]) else probabilities
