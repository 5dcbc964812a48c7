"""Predictions of trained heads for their validation and test parts."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_manifest.splits.dialogues import dialogue_of
from data_manifest.splits.split import Clips, Split
from pipeline.base.provenance import digest
from pipeline.evaluation.predictions import Prediction
from pipeline.heads.contract import Head
from pipeline.memo.entries import Memo
from pipeline.parallel.pool import ExecutionConfig, Pool, bounded_map
from pipeline.parallel.progress import progress_bar
from pipeline.store.columns import Arrays
from pipeline.training.answers import modalities_in, predict
from pipeline.training.checkpoints import Card, load_head
from pipeline.training.corpus import Corpus
from pipeline.training.recipe import Recipe, Trained, describe
from pipeline.training.runs import FoldRun, Job, as_ensemble_runs, group_jobs, train_group, training_code
from pipeline.training.temperature import apply_temperatures

PARTS = ("validation", "test")


@dataclass(frozen=True)
class HeldOut:
    """The predictions of a run for its held-out parts."""

    validation: list[Prediction]
    test: list[Prediction]


CorpusJobs = tuple[Corpus, Sequence[Job]]


def train_and_predict(parts: Sequence[CorpusJobs], run: ExecutionConfig) -> Iterator[HeldOut]:
    """Train the jobs of every corpus and yield the predictions for their held-out parts, in order.

    Those in the memo are not computed again.
    """
    memo = Memo()
    from_memo = 0
    with Pool(run, device=run.device) as pool, progress_bar() as bar:
        task = bar.add_task("ablate", total=sum(len(jobs) for _, jobs in parts), summary="")

        def start(group: _Group) -> list[Arrays] | Callable[[], list[Trained]]:
            entries = [memo.read("ablate", key) for key in group.keys]
            cached = [arrays for arrays in entries if arrays is not None]
            if len(cached) == len(entries):
                return cached
            return train_group(group.corpus, pool, as_ensemble_runs(group.corpus, group.jobs))

        for group, started in bounded_map(_groups(parts, pool), start, workers=lambda: pool.workers):
            if callable(started):
                for job, key, trained in zip(group.jobs, group.keys, started(), strict=True):
                    arrays = _answers(group.corpus, trained, *job)
                    memo.write("ablate", key, arrays)
                    bar.update(task, advance=1)
                    yield _held_out(group.corpus, job[1], arrays)
            else:
                from_memo += len(group.jobs)
                bar.update(task, advance=len(group.jobs), summary=f"{from_memo} from the memo")
                for job, arrays in zip(group.jobs, started, strict=True):
                    yield _held_out(group.corpus, job[1], arrays)


def count_runs_in_memo(parts: Sequence[CorpusJobs], run: ExecutionConfig) -> int:
    """Return how many of the jobs `train_and_predict` would take from the memo."""
    memo = Memo()
    with Pool(run, device=run.device) as pool:
        groups = list(_groups(parts, pool))
    return sum(len(it.jobs) for it in groups if all(memo.holds("ablate", key) for key in it.keys))


@dataclass(frozen=True)
class _Group:
    """Jobs of one corpus that are trained together, and their keys in the memo."""

    corpus: Corpus
    jobs: Sequence[Job]
    keys: Sequence[str]


def _groups(parts: Sequence[CorpusJobs], pool: Pool) -> Iterator[_Group]:
    for corpus, jobs in parts:
        data = [pool.hardware, corpus.classes, corpus.version, PARTS]
        for group in group_jobs(jobs):
            yield _Group(corpus, group, [_key(data, *job) for job in group])


def _answers(corpus: Corpus, trained: Trained, recipe: Recipe, run: FoldRun) -> Arrays:
    """Return the probabilities (n, C) of both held-out parts, named `part/answer`."""
    answers = {
        "validation": trained.validation,
        "test": predict(
            trained.head,
            corpus.part(run.split.test, recipe.train),
            trained=modalities_in(corpus.part((*run.split.train, *run.split.validation), recipe.train)),
        ),
    }
    return {f"{part}/{name}": values.numpy() for part in PARTS for name, values in answers[part].items()}


def _held_out(corpus: Corpus, run: FoldRun, arrays: Arrays) -> HeldOut:
    validation, test = (
        {name.removeprefix(f"{part}/"): values for name, values in arrays.items() if name.startswith(f"{part}/")}
        for part in PARTS
    )
    return HeldOut(
        _predictions(corpus, run, run.split.validation, validation), _predictions(corpus, run, run.split.test, test)
    )


def _key(data: Sequence[Any], recipe: Recipe, run: FoldRun) -> str:
    """Return the memo key of one run's answers, a digest of all that shapes them."""
    parts = (run.split.train, run.split.validation, run.split.test)
    clips = [[[clip.clip_id, clip.emotion] for clip in part] for part in parts]
    code = training_code(recipe.head.name, recipe.alignment.name)
    return digest([*data, code, describe(recipe), run.seed, clips])


def training_set(split: Split) -> str:
    """Return a digest of the clips that the head of a split is trained on."""
    return digest(sorted(clip.clip_id for clip in (*split.train, *split.validation)))


def load_run(corpus: Corpus, run: FoldRun, models: Path, *, allow: Collection[str] = ()) -> tuple[Head, Card]:
    """Return the saved head of a run and its card; raise if it was trained on other embeddings than the corpus's.

    `allow` lists the plugins that it may name.
    """
    path = models / "folds" / f"{run.name}.safetensors"
    head, card = load_head(path, allow=allow)
    card.require_match(corpus.classes, corpus.provenance, path)
    return head, card


def predict_runs(
    corpus: Corpus, runs: Sequence[FoldRun], models: Path, *, allow: Collection[str] = ()
) -> list[Prediction]:
    """Return the predictions of every run's saved head for its test part, at the head's temperatures.

    `allow` lists plugins that it may name.
    """
    predictions: list[Prediction] = []
    for run in runs:
        head, card = load_run(corpus, run, models, allow=allow)
        before = predict(head, corpus.part(run.split.test, card.train), trained=card.trained.modalities)
        answers = apply_temperatures(before, card.temperatures)
        arrays = ({name: values.numpy() for name, values in them.items()} for them in (answers, before))
        predictions += _predictions(corpus, run, run.split.test, *arrays)
    return predictions


def _predictions(
    corpus: Corpus, run: FoldRun, clips: Clips, answers: Arrays, uncalibrated: Arrays | None = None
) -> list[Prediction]:
    """Return probabilities (n, C) by answer as predictions for n clips of the run."""
    split = run.split
    training = Counter(clip.emotion for clip in split.train)
    trained_on = training_set(split)
    majority = corpus.classes.index(max(sorted(training), key=lambda emotion: training[emotion]))

    def of_clip(row: int, answers: Arrays) -> dict[str, list[float] | None]:
        return {name: _without_nan(values[row].tolist()) for name, values in answers.items()}

    return [
        Prediction(
            protocol=split.protocol,
            speakers_shared=split.speakers_shared,
            fold=split.fold,
            seed=run.seed,
            clip_id=clip.clip_id,
            speaker=clip.speaker,
            truth=corpus.classes.index(clip.emotion),
            probabilities=of_clip(row, answers),
            majority=majority,
            training_set=trained_on,
            dialogue=dialogue_of(clip),
            uncalibrated=None if uncalibrated is None else of_clip(row, uncalibrated),
        )
        for row, clip in enumerate(clips)
    ]


def _without_nan(probabilities: list[float]) -> list[float] | None:
    return None if math.isnan(probabilities[0]) else probabilities
