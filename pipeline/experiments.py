"""A recipe on a protocol: every fold and seed is one run, and runs are spread over processes."""

import math
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch

from data_manifest.manifest import EXCLUSIONS, MANIFEST, Clip, Exclusion, read_rows
from data_manifest.protocols import ProtocolConfig, make_splits
from data_manifest.splits import Split
from pipeline.checkpoints import Card, load_head
from pipeline.dataset import Examples, load_examples, usable
from pipeline.errors import StoreError
from pipeline.evaluation import Prediction
from pipeline.features import FeatureStore
from pipeline.heads import HEADS, Head, HeadConfig, Shapes
from pipeline.losses import ALIGNMENTS, AlignmentConfig
from pipeline.memo import Arrays, Memo
from pipeline.parallel import Pool, RunConfig, ahead
from pipeline.params import read_section
from pipeline.provenance import code_version, digest, installed, library_versions
from pipeline.registry import lookup
from pipeline.replicas import Replica, architecture, train_together
from pipeline.training import Recipe, TrainConfig, Trained, describe, predict

VISUAL = Path("data/embeddings/visual.h5")
ACOUSTIC = Path("data/embeddings/acoustic.h5")
TOGETHER = 20  # replicas that are trained as one program, at most: more gain nothing and take memory
RANDOM_WEIGHTS = "random backbone weights: these figures show that the pipeline works, and nothing about emotion"


def read_recipe() -> Recipe:
    """Return the recipe that `params.yaml` holds."""
    return Recipe(
        read_section("head", HeadConfig),
        read_section("alignment", AlignmentConfig),
        read_section("train", TrainConfig),
    )


@dataclass(frozen=True)
class Corpus:
    """The clips that can be learned from, with their cached tokens, in the order of the manifest."""

    clips: list[Clip]
    classes: list[str]
    examples: Examples
    left_out: list[Exclusion]  # by any stage so far
    provenance: dict[str, Any]  # by modality: what made the embeddings
    folder: Path | None = None  # where its files lie, if it was read from files

    def summary(self) -> dict[str, Any]:
        """Return what every result must say of its data: how much there is, what was left out, whose weights."""
        weights = {kind: made["weights"]["name"] for kind, made in self.provenance.items()}
        warning = {"warning": RANDOM_WEIGHTS} if "random" in weights.values() else {}
        left_out = [asdict(row) for row in self.left_out]
        return {
            **warning,
            "clips": len(self.clips),
            "left_out": left_out,
            "lost_modalities": {kind: made["failures"] for kind, made in self.provenance.items()},
            "classes": self.classes,
            "weights": weights,
            "embeddings": {
                kind: {name: made[name] for name in ("weights", "config", "upstream", "fingerprint")}
                for kind, made in self.provenance.items()
            },
        }

    @property
    def version(self) -> str:
        """The short name of what can be learned from it."""
        data = {kind: made["version"] for kind, made in self.provenance.items()}
        return digest([data, [[clip.clip_id, clip.emotion] for clip in self.clips]])

    def part(self, clips: Sequence[Clip]) -> Examples:
        """Return the examples of some of the clips."""
        position = {clip.clip_id: index for index, clip in enumerate(self.clips)}
        return self.examples.take(torch.tensor([position[clip.clip_id] for clip in clips]))


def open_corpus(folder: Path = Path()) -> Corpus:
    """Read the manifest and both stores of a repository."""
    stores = {"visual": FeatureStore(folder / VISUAL), "acoustic": FeatureStore(folder / ACOUSTIC)}
    clips, left_out = usable(read_rows(folder / MANIFEST, Clip), stores["visual"], stores["acoustic"])
    left_out = [*read_rows(folder / EXCLUSIONS, Exclusion), *left_out]
    classes = sorted({clip.emotion for clip in clips})
    names = ("config", "weights", "upstream", "fingerprint", "failures")
    provenance = {
        kind: {name: store.attributes[name] for name in names} | {"version": store.reader.version}
        for kind, store in stores.items()
    }
    return Corpus(
        clips,
        classes,
        load_examples(clips, classes, stores["visual"], stores["acoustic"]),
        left_out,
        provenance,
        folder.resolve(),
    )


@dataclass(frozen=True)
class Run:
    """One fold of one protocol with one seed."""

    split: Split
    seed: int

    @property
    def name(self) -> str:
        """A name that is unique among runs, and good for a file."""
        return f"{self.split.protocol}-{self.split.fold}-{self.seed}"


def plan_runs(clips: Sequence[Clip], protocols: Mapping[str, ProtocolConfig], seeds: Sequence[int]) -> list[Run]:
    """Return all runs, in a fixed order; every split has been checked."""
    splits = [split for name, config in protocols.items() for split in make_splits(clips, name, config)]
    return [Run(split, seed) for split in splits for seed in seeds]


def plan_ablation(corpus: Corpus, seeds: Sequence[int]) -> list[Run]:
    """Return the runs of an ablation: the folds of the first protocol, with these seeds."""
    protocols = read_section("protocols", dict[str, ProtocolConfig])
    return plan_runs(corpus.clips, dict(islice(protocols.items(), 1)), seeds)


Job = tuple[Recipe, Run]


def train_runs(corpus: Corpus, jobs: Sequence[Job], pool: Pool) -> Iterator[Trained]:
    """Train every job, those of one architecture together, groups on all workers; yield the results in order."""

    def start(group: list[Job]) -> Callable[[], list[Trained]]:
        return _train(corpus, pool, _replicas(corpus, group))

    for _, trained in ahead(_groups(jobs), start, workers=lambda: pool.workers):
        yield from trained()


def refit(corpus: Corpus, recipe: Recipe, pool: Pool, *, seed: int, epochs: int) -> Trained:
    """Train one head on all clips, for so many epochs: the one for prediction."""
    everything = Replica(recipe, torch.arange(len(corpus.clips)), None, seed)
    return _train(corpus, pool, [everything], epochs=epochs)()[0]


def test_runs(corpus: Corpus, jobs: Sequence[Job], run: RunConfig) -> Iterator[list[Prediction]]:
    """Yield what every job's head says of its test part; what was trained before is taken from the memo."""
    memo = Memo()
    with Pool(run, device=run.device) as pool:
        data = [pool.hardware, corpus.classes, corpus.version]

        def start(group: list[Job]) -> list[Arrays] | Callable[[], list[Trained]]:
            known = [memo.read("ablate", _key(data, *job)) for job in group]
            remembered = [arrays for arrays in known if arrays is not None]
            return remembered if len(remembered) == len(group) else _train(corpus, pool, _replicas(corpus, group))

        for group, started in ahead(_groups(jobs), start, workers=lambda: pool.workers):
            if callable(started):
                for job, trained in zip(group, started(), strict=True):
                    answers = predict(trained.head, corpus.part(job[1].split.test))
                    told = {name: values.numpy() for name, values in answers.items()}
                    memo.write("ablate", _key(data, *job), told)
                    yield _predictions(corpus, job[1], told)
            else:
                for job, arrays in zip(group, started, strict=True):
                    yield _predictions(corpus, job[1], arrays)


def _groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Cut the jobs into groups of one architecture and protocol, alike for any number of workers.

    In other company, the last digits of a sum are others.
    """
    groups = []
    for _, same in groupby(jobs, lambda job: (job[1].split.protocol, architecture(job[0]))):
        alike = list(same)
        parts = math.ceil(len(alike) / TOGETHER)
        groups += [alike[len(alike) * part // parts : len(alike) * (part + 1) // parts] for part in range(parts)]
    return groups


def _replicas(corpus: Corpus, group: Sequence[Job]) -> list[Replica]:
    """Return the jobs as they are trained: clips are places among the corpus's examples."""
    places = {clip.clip_id: place for place, clip in enumerate(corpus.clips)}
    replicas = []
    for recipe, planned in group:
        parts = (planned.split.train, planned.split.validation)
        training, validation = (torch.tensor([places[clip.clip_id] for clip in part]) for part in parts)
        replicas.append(Replica(recipe, training, validation, planned.seed))
    return replicas


def _train(corpus: Corpus, pool: Pool, replicas: Sequence[Replica], *, epochs: int = 0) -> Callable[[], list[Trained]]:
    """Have replicas trained together; what is returned gives the heads."""
    settings: dict[str, Any] = {"classes": len(corpus.classes), "epochs": epochs, "device": pool.run.device}
    if pool.run.scheduler == "synchronous" or corpus.folder is None:
        return pool.submit(partial(train_together, corpus.examples, **settings), replicas)
    recipe = replicas[0].recipe
    here = partial(_code, recipe.head.name, recipe.alignment.name)
    call = partial(_train_there, corpus.folder, corpus.version, settings)
    return pool.submit(call, replicas, version=here(), here=here)


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
def _code(head: str, alignment: str) -> str:
    """Return the short name of all code that trains a head with an alignment."""
    builders = lookup(HEADS, head, "head"), lookup(ALIGNMENTS, alignment, "alignment")
    libraries = [library_versions("numpy", "scikit-learn", "torch", *installed(it)) for it in builders]
    return digest([libraries, [code_version(it) for it in (train_together, *builders)]])


def _key(data: Sequence[Any], recipe: Recipe, run: Run) -> str:
    """Return what names the answers of one run: all that shapes them."""
    parts = (run.split.train, run.split.validation, run.split.test)
    clips = [[[clip.clip_id, clip.emotion] for clip in part] for part in parts]
    code = _code(recipe.head.name, recipe.alignment.name)
    return digest([*data, code, describe(recipe), run.seed, clips])


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


def load_run(corpus: Corpus, run: Run, models: Path) -> Head:
    """Return the saved head of a run, which must have been trained on this corpus's embeddings."""
    path = models / "folds" / f"{run.name}.safetensors"
    head, card = load_head(path)
    card.demand(corpus.classes, corpus.provenance, path)
    return head


def predict_runs(corpus: Corpus, runs: Sequence[Run], models: Path) -> list[Prediction]:
    """Return what every run's saved head says of the clips that it never saw."""
    predictions: list[Prediction] = []
    for run in runs:
        answers = predict(load_run(corpus, run, models), corpus.part(run.split.test))
        predictions += _predictions(corpus, run, {name: values.numpy() for name, values in answers.items()})
    return predictions


def _predictions(corpus: Corpus, run: Run, answers: Arrays) -> list[Prediction]:
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
