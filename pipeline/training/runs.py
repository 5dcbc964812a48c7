"""Runs of a recipe: one for each fold and seed of a protocol, trained in groups on all workers."""

import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby, islice
from typing import Any

import torch

from data_manifest.manifest.clips import Clip
from data_manifest.splits.protocols import ProtocolConfig, make_splits
from data_manifest.splits.split import Split
from pipeline.alignments.contract import AlignmentConfig
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.errors import StoreError
from pipeline.base.params import read_section
from pipeline.base.provenance import code_version, digest, library_versions, plugin_distributions
from pipeline.base.registry import lookup
from pipeline.heads.contract import HeadConfig, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.table import HEADS
from pipeline.parallel.pool import Pool, bounded_map
from pipeline.parallel.progress import progress_bar
from pipeline.training._vectorising import log_once
from pipeline.training.checkpoints import MEDIA_DIGITS, Card, TrainedPart
from pipeline.training.corpus import Corpus, CorpusFiles, open_corpus
from pipeline.training.ensembles import EnsembleRun, train_ensembles
from pipeline.training.recipe import Recipe, TrainConfig, Trained
from pipeline.training.replicas import architecture

GROUP_SIZE = 20  # replicas that are trained together at most: more are not faster and take more memory


def read_recipe() -> Recipe:
    """Return the recipe in `params.yaml`."""
    return Recipe(
        read_section("head", HeadConfig),
        read_section("alignment", AlignmentConfig),
        read_section("train", TrainConfig),
    )


@dataclass(frozen=True)
class FoldRun:
    """One fold of one protocol with one seed."""

    split: Split
    seed: int

    @property
    def name(self) -> str:
        """A unique name that is valid as a file name."""
        return f"{self.split.protocol}-{self.split.fold}-{self.seed}"


def plan_runs(clips: Sequence[Clip], protocols: Mapping[str, ProtocolConfig], seeds: Sequence[int]) -> list[FoldRun]:
    """Return all runs of all protocols, in a fixed order: for each protocol all folds of the first seed, and so on."""
    splits = [make_splits(clips, name, config) for name, config in protocols.items()]
    return [FoldRun(split, seed) for folds in splits for seed in seeds for split in folds]


def plan_ablation(corpus: Corpus, seeds: Sequence[int]) -> list[FoldRun]:
    """Return the runs of an ablation: the folds of the first protocol with these seeds."""
    protocols = read_section("protocols", dict[str, ProtocolConfig])
    return plan_runs(corpus.clips, dict(islice(protocols.items(), 1)), seeds)


Job = tuple[Recipe, FoldRun]


def train_runs(corpus: Corpus, jobs: Sequence[Job], pool: Pool) -> Iterator[Trained]:
    """Train every job, jobs of one architecture together and groups on all workers; yield the results in order."""

    def start(group: list[Job]) -> Callable[[], list[Trained]]:
        return train_group(corpus, pool, as_ensemble_runs(corpus, group))

    with progress_bar() as bar:
        task = bar.add_task("train", total=len(jobs), summary="")
        for _, trained in bounded_map(group_jobs(jobs), start, workers=lambda: pool.workers):
            heads = trained()
            bar.update(task, advance=len(heads))
            yield from heads


def refit(corpus: Corpus, recipe: Recipe, pool: Pool, *, seed: int) -> Trained:
    """Train the head for prediction on all clips, as the heads of the folds are on theirs."""
    return train_group(corpus, pool, [EnsembleRun(recipe, torch.arange(len(corpus.clips)), None, seed)])()[0]


def group_jobs(jobs: Sequence[Job]) -> list[list[Job]]:
    """Split the jobs into groups of one architecture, protocol and seed, independent of the number of workers.

    The last digits of a result depend on the group, so the memo knows whole groups: further seeds are further groups.
    """
    groups = []
    for _, members in groupby(jobs, lambda job: (job[1].split.protocol, architecture(job[0]), job[1].seed)):
        same = list(members)
        size = max(1, GROUP_SIZE // (2 * same[0][0].train.ensemble))  # on all clips, and to be validated
        parts = math.ceil(len(same) / size)
        groups += [same[len(same) * part // parts : len(same) * (part + 1) // parts] for part in range(parts)]
    return groups


def as_ensemble_runs(corpus: Corpus, group: Sequence[Job]) -> list[EnsembleRun]:
    """Return the jobs with their clips as positions in the corpus's examples."""
    position = {clip.clip_id: index for index, clip in enumerate(corpus.clips)}
    runs = []
    for recipe, run in group:
        parts = (run.split.train, run.split.validation)
        training, validation = (torch.tensor([position[clip.clip_id] for clip in part]) for part in parts)
        runs.append(EnsembleRun(recipe, training, validation, run.seed))
    return runs


def train_group(corpus: Corpus, pool: Pool, runs: Sequence[EnsembleRun]) -> Callable[[], list[Trained]]:
    """Start the training of runs together; return a function that waits for the heads."""
    wait = _start_group(corpus, pool, runs)

    def wait_and_log() -> list[Trained]:
        trained: list[Trained] = wait()
        for note in sorted({it.note for it in trained if it.note}):
            log_once(note)  # a worker's log is not shown
        return trained

    return wait_and_log


def _start_group(corpus: Corpus, pool: Pool, runs: Sequence[EnsembleRun]) -> Callable[[], list[Trained]]:
    settings: dict[str, Any] = {"classes": len(corpus.classes), "device": pool.run.device}
    if pool.run.scheduler == "synchronous" or corpus.files is None:
        return pool.submit(partial(train_ensembles, corpus.examples, **settings), runs)
    recipe = runs[0].recipe
    find_version = partial(training_code, recipe.head.name, recipe.alignment.name)
    workers = pool.run.workers if pool.run.scheduler == "processes" else None  # a cluster's: one per core at most
    call = partial(_train_in_worker, corpus.files, corpus.version, workers, settings)
    return pool.submit(call, runs, version=find_version(), worker_version=find_version)


def _train_in_worker(
    files: CorpusFiles, version: str, workers: int | None, settings: dict[str, Any], runs: Sequence[EnsembleRun]
) -> list[Trained]:
    return train_ensembles(_read_once(files, version, workers or os.cpu_count() or 1), runs, **settings)


@cache
def _read_once(files: CorpusFiles, version: str, workers: int) -> Examples:
    """Return the examples: a worker, of so many on this machine, reads the stores once; groups need not carry them."""
    corpus = open_corpus(files.folder, embeddings=files.embeddings, compared=files.compared, processes=workers)
    if corpus.version != version:
        raise StoreError(
            f"{files.folder} holds other clips or embeddings on {platform.node()} than where training was started; "
            "workers of a cluster need the same files under the same paths"
        )
    return corpus.examples


@cache  # every run asks for it, and for a plugin the search through installed packages takes a second
def training_code(head: str, alignment: str) -> str:
    """Return the digest of all code that trains a head with an alignment."""
    builders = lookup(HEADS, head, "head"), lookup(ALIGNMENTS, alignment, "alignment")
    libraries = [library_versions("numpy", "scikit-learn", "torch", *plugin_distributions(it)) for it in builders]
    return digest([libraries, [code_version(it) for it in (train_ensembles, *builders)]])


def describe_head(
    corpus: Corpus, recipe: Recipe, temperatures: Mapping[str, float], *, run: FoldRun | None = None, seed: int = 0
) -> Card:
    """Return the card of the head of a run, or else of one that was trained on all clips with the seed."""
    examples, clips = corpus.examples, corpus.clips
    if run:
        clips = [*run.split.train, *run.split.validation]
        examples = corpus.part(clips, recipe.train)
    shapes = Shapes(examples.visual.width, examples.acoustic.width, len(corpus.classes))
    return Card(
        head=recipe.head,
        alignment=recipe.alignment,
        train=recipe.train,
        classes=tuple(corpus.classes),
        shapes=shapes,
        embeddings=corpus.provenance,
        libraries=library_versions("torch", "scikit-learn", "fdan"),
        trained=TrainedPart(
            protocol=run.split.protocol if run else None,
            fold=run.split.fold if run else None,
            seed=run.seed if run else seed,
            clips=len(clips),
            visual=int(examples.visual.present.sum()),
            acoustic=int(examples.acoustic.present.sum()),
            media="".join(sorted(clip.sha256[:MEDIA_DIGITS] for clip in clips)),
        ),
        temperatures=dict(temperatures),
    )
