"""Checks of heads and alignments: the beginning of a training, on the cached embeddings of a few clips."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch
from matplotlib.figure import Figure

from data_manifest.manifest.clips import MANIFEST, Clip, read_rows
from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.params import read_section
from pipeline.base.selection import count_noun, evenly_spaced
from pipeline.checking._sections import read_configs
from pipeline.checking.arguments import Request
from pipeline.checking.reports import FOLDER, CheckReport, prepare, try_reference
from pipeline.drawing.figure import COLOURS, save
from pipeline.heads.contract import HeadConfig
from pipeline.heads.examples import Examples
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.features import FeatureStore
from pipeline.store.tokens import Tokens
from pipeline.training.corpus import ACOUSTIC, VISUAL, load_examples, select_usable
from pipeline.training.recipe import Recipe
from pipeline.training.replicas import Replica, TrainedReplica, train_together
from pipeline.training.runs import read_recipe

CLIPS, EPOCHS = 20, 40
CLASSES, TOKENS, WIDTH = 4, 5, 32  # of random embeddings


class FewExamples(NamedTuple):
    """Some clips with embeddings, the number of their classes, and where they are from, in words."""

    origin: str
    examples: Examples
    classes: int


class TimedTraining(NamedTuple):
    """A trained head, and the time of a clip in an epoch."""

    trained: TrainedReplica
    ms: float


def check_head(request: Request) -> CheckReport:
    """Check a head by training it: the loss on the clips that it learns from should fall."""
    mine, other = read_configs(request, HeadConfig)
    recipe, few = read_recipe(), _few_examples()

    def run(config: HeadConfig) -> TimedTraining:
        return _train(replace(recipe, head=config), few)

    ours = run(mine)
    notes = [ours.trained.note] * bool(ours.trained.note)
    losses = [epoch.cross_entropy for epoch in ours.trained.curve]
    if not losses:
        notes.append("it has no parameter with a gradient: its `fit` trains it completely")
    else:
        verb = "falls" if losses[-1] < losses[0] else "does not fall: it goes"
        notes.append(f"the loss {verb} from {losses[0]:.2f} to {losses[-1]:.2f} in {EPOCHS} epochs")
    theirs = try_reference(other.name, partial(run, other), notes)
    runs = {mine.name: ours} if theirs is None else {mine.name: ours, other.name: theirs}
    curves = {name: [epoch.cross_entropy for epoch in it.trained.curve] for name, it in runs.items()}
    picture = FOLDER / f"{request.key}.png"
    _draw_curves(curves, f"Cross-entropy on {count_noun(len(few.examples), 'training clip')}", picture)
    return _report(request, few, runs, notes, picture)


def check_alignment(request: Request) -> CheckReport:
    """Check an alignment by training the head `fdan` with it: the distance should fall."""
    mine, other = read_configs(request, AlignmentConfig)
    recipe, few = replace(read_recipe(), head=HeadConfig()), _few_examples()

    def run(config: AlignmentConfig) -> TimedTraining:
        return _train(replace(recipe, alignment=config), few)

    ours = run(mine)
    distances = _distances(ours)
    notes = [f"the distance, with the head fdan, goes from {distances[0]:.3g} to {distances[-1]:.3g}"]
    theirs = try_reference(other.name, partial(run, other), notes)
    runs = {mine.name: ours} if theirs is None else {mine.name: ours, other.name: theirs}
    by_epoch = {name: _distances(it) for name, it in runs.items()}
    curves = {name: [value / values[0] for value in values] for name, values in by_epoch.items() if values[0] > 0}
    picture = FOLDER / f"{request.key}.png"
    _draw_curves(curves, "Distance of the modalities, relative to the first epoch", picture)
    return _report(request, few, runs, notes, picture)


def _report(
    request: Request, few: FewExamples, runs: Mapping[str, TimedTraining], notes: list[str], picture: Path
) -> CheckReport:
    ms = {name: it.ms for name, it in runs.items()}
    return CheckReport(f"{request.part.kind} {request.name!r}", few.origin, ms, "clip and epoch", notes, picture)


def _train(recipe: Recipe, few: FewExamples) -> TimedTraining:
    """Train on all clips, as a stage does, but without what keeps the loss up; time it without the first steps."""
    plain = {"modality_dropout": 0.0, "label_smoothing": 0.0, "epochs": EPOCHS}
    recipe = replace(recipe, train=recipe.train.model_copy(update=plain))
    first = replace(recipe, train=recipe.train.model_copy(update={"epochs": 1}))
    every = torch.arange(len(few.examples))
    train = partial(
        train_together, few.examples, classes=few.classes, device=read_section("run", ExecutionConfig).device
    )
    train([Replica(first, every, None, 0)])
    start = perf_counter()
    (trained,) = train([Replica(recipe, every, None, 0)])
    return TimedTraining(trained, 1000 * (perf_counter() - start) / (EPOCHS * len(few.examples)))


def _distances(run: TimedTraining) -> list[float]:
    """Return the mean distance over the aligned layers, by epoch."""
    return [sum(epoch.alignment) / max(1, len(epoch.alignment)) for epoch in run.trained.curve]


def _few_examples() -> FewExamples:
    """Return clips of the cached embeddings; if there are none, random ones whose classes differ."""
    if all(path.is_file() for path in (MANIFEST, VISUAL, ACOUSTIC)):
        stores = FeatureStore(VISUAL), FeatureStore(ACOUSTIC)
        usable, _ = select_usable(read_rows(MANIFEST, Clip), *stores)
        if clips := evenly_spaced(usable, CLIPS):
            classes = sorted({clip.emotion for clip in clips})
            origin = f"the cached embeddings of {count_noun(len(clips), 'clip')}"
            return FewExamples(origin, load_examples(clips, classes, *stores), len(classes))
    return FewExamples(f"random embeddings of {CLIPS} clips, because none are cached", _random_examples(), CLASSES)


def _random_examples() -> Examples:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(CLIPS) % CLASSES
    modalities = []
    for _ in range(2):
        means = torch.randn(CLASSES, WIDTH, generator=generator)
        values = means[labels][:, None] + torch.randn(CLIPS, TOKENS, WIDTH, generator=generator)
        times = torch.arange(TOKENS).expand(CLIPS, TOKENS).float()
        modalities.append(Tokens(values, times, torch.ones(CLIPS, TOKENS, dtype=torch.bool)))
    return Examples(modalities[0], modalities[1], labels, torch.arange(CLIPS) // CLASSES)


def _draw_curves(curves: Mapping[str, list[float]], title: str, path: Path) -> None:
    """Draw values by epoch, one line per name; a part without values has no line."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
        if values:
            axis.plot(range(1, len(values) + 1), values, color=colour, label=name)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("epoch", fontsize=9)
    axis.set_ylim(bottom=0)
    if axis.lines:
        axis.legend(fontsize=8, frameon=False)
    save(figure, prepare(path))
