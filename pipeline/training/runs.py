"""A recipe on a protocol: every fold and seed is one run, and runs are spread over processes."""

import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby, islice
from pathlib import Path
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
from pipeline.training.checkpoints import Card
from pipeline.training.corpus import Corpus, open_corpus
from pipeline.training.recipe import Recipe, TrainConfig, Trained
from pipeline.training.replicas import Replica, architecture, train_together

TOGETHER = 20  # replicas that are trained as one program, at most: more gain nothing and take memory


def read_recipe() -> Recipe:
    """Return the recipe that `params.yaml` holds."""
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
        """A name that is unique among runs, and good for a file."""
        return f"{self.split.protocol}-{self.split.fold}-{self.seed}"


def plan_runs(clips: Sequence[Clip], protocols: Mapping[str, ProtocolConfig], seeds: Sequence[int]) -> list[FoldRun]:
    """Return all runs, in a fixed order; every split has been checked."""
    splits = [split for name, config in protocols.items() for split in make_splits(clips, name, config)]
    return [FoldRun(split, seed) for split in splits for seed in seeds]


def plan_ablation(corpus: Corpus, seeds: Sequence[int]) -> list[FoldRun]:
    """Return the runs of an ablation: the folds of the first protocol, with these seeds."""
    protocols = read_section("protocols", dict[str, ProtocolConfig])
    return plan_runs(corpus.clips, dict(islice(protocols.items(), 1)), seeds)


Job = tuple[Recipe, FoldRun]


def train_runs(corpus: Corpus, jobs: Sequence[Job], pool: Pool) -> Iterator[Trained]:
    """Train every job, those of one architecture together, groups on all workers; yield the results in order."""

    def start(group: list[Job]) -> Callable[[], list[Trained]]:
        return train_group(corpus, pool, as_replicas(corpus, group))

    for _, trained in bounded_map(group_jobs(jobs), start, workers=lambda: pool.workers):
        yield from trained()


def refit(corpus: Corpus, recipe: Recipe, pool: Pool, *, seed: int, epochs: int) -> Trained:
    """Train one head on all clips, for so many epochs: the one for prediction."""
    everything = Replica(recipe, torch.arange(len(corpus.clips)), None, seed)
    return train_group(corpus, pool, [everything], epochs=epochs)()[0]


def group_jobs(jobs: Sequence[Job]) -> list[list[Job]]:
    """Cut the jobs into groups of one architecture and protocol, alike for any number of workers.

    In other company, the last digits of a sum are others.
    """
    groups = []
    for _, same in groupby(jobs, lambda job: (job[1].split.protocol, architecture(job[0]))):
        alike = list(same)
        parts = math.ceil(len(alike) / TOGETHER)
        groups += [alike[len(alike) * part // parts : len(alike) * (part + 1) // parts] for part in range(parts)]
    return groups


def as_replicas(corpus: Corpus, group: Sequence[Job]) -> list[Replica]:
    """Return the jobs as they are trained: clips are places among the corpus's examples."""
    places = {clip.clip_id: place for place, clip in enumerate(corpus.clips)}
    replicas = []
    for recipe, planned in group:
        parts = (planned.split.train, planned.split.validation)
        training, validation = (torch.tensor([places[clip.clip_id] for clip in part]) for part in parts)
        replicas.append(Replica(recipe, training, validation, planned.seed))
    return replicas


def train_group(
    corpus: Corpus, pool: Pool, replicas: Sequence[Replica], *, epochs: int = 0
) -> Callable[[], list[Trained]]:
    """Have replicas trained together; what is returned gives the heads."""
    settings: dict[str, Any] = {"classes": len(corpus.classes), "epochs": epochs, "device": pool.run.device}
    if pool.run.scheduler == "synchronous" or corpus.folder is None:
        return pool.submit(partial(train_together, corpus.examples, **settings), replicas)
    recipe = replicas[0].recipe
    here = partial(training_code, recipe.head.name, recipe.alignment.name)
    call = partial(_train_there, corpus.folder, corpus.version, settings)
    return pool.submit(call, replicas, version=here(), worker_version=here)


def _train_there(folder: Path, version: str, settings: dict[str, Any], replicas: Sequence[Replica]) -> list[Trained]:
    return train_together(_read_once(folder, version), replicas, **settings)


@cache
def _read_once(folder: Path, version: str) -> Examples:
    """Return the examples: a worker reads the stores itself, once, and none of it has to travel with every group."""
    corpus = open_corpus(folder)
    if corpus.version != version:
        raise StoreError(
            f"{folder} holds other clips or embeddings on {platform.node()} than where training was started; "
            "workers of a cluster need the same files under the same paths"
        )
    return corpus.examples


@cache  # every run of a table asks again; for a head of one's own, to look through all that is installed takes a second
def training_code(head: str, alignment: str) -> str:
    """Return the short name of all code that trains a head with an alignment."""
    builders = lookup(HEADS, head, "head"), lookup(ALIGNMENTS, alignment, "alignment")
    libraries = [library_versions("numpy", "scikit-learn", "torch", *plugin_distributions(it)) for it in builders]
    return digest([libraries, [code_version(it) for it in (train_together, *builders)]])


def describe_head(corpus: Corpus, recipe: Recipe, trained: Mapping[str, Any]) -> Card:
    """Return the card of a head that was trained on this corpus; `trained` says on what part, and how long."""
    examples = corpus.examples
    shapes = Shapes(examples.visual.values.shape[-1], examples.acoustic.values.shape[-1], len(corpus.classes))
    return Card(
        head=recipe.head,
        alignment=recipe.alignment,
        train=recipe.train,
        classes=tuple(corpus.classes),
        shapes=shapes,
        embeddings=corpus.provenance,
        libraries=library_versions("torch", "scikit-learn", "fdan"),
        trained=dict(trained),
    )
