"""Training on cached tokens against end-to-end training, a plain loop, and the machine's matrix product."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet34

from benchmarks.figures import Figure, ratio, single, times
from data_manifest.manifest.clips import EXCLUSIONS, MANIFEST, Clip, Exclusion, write_rows
from data_manifest.splits.protocols import SpeakerFolds
from pipeline.ablation.table import open_rows, run_table
from pipeline.alignments.table import ALIGNMENTS
from pipeline.heads.examples import Examples
from pipeline.heads.layers import Dropout, TokenDropout
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.schemas import EMBEDDINGS
from pipeline.store.tokens import Tokens
from pipeline.store.writer import open_writer
from pipeline.training.answers import fused_probabilities, uar
from pipeline.training.corpus import ACOUSTIC, STANDARD, VISUAL, open_corpus
from pipeline.training.losses import alignment_losses, classification_loss
from pipeline.training.recipe import Recipe, build_head
from pipeline.training.replicas import Replica, train_together
from pipeline.training.runs import GROUP_SIZE, plan_runs, read_recipe
from pipeline.variants.rows import EXTRACTION, REFERENCE, read_ablations, select_sections

# A corpus of SAVEE's size: 4 speakers, 16 faces and 4 spectrogram windows per clip, embedded by a ResNet-34.
CLIPS, SPEAKERS, CLASSES, FACES, WINDOWS, WIDTH = 480, 4, 7, 16, 4, 512
MEASURED_EPOCHS = 10  # enough that building the heads does not matter
MATRIX_ROWS = 4096  # of the square matrices whose product measures the machine's speed


def measure() -> list[Figure]:
    """Return the benchmark figures of training."""
    recipe = read_recipe()
    recipe = replace(recipe, train=recipe.train.model_copy(update={"epochs": MEASURED_EPOCHS}))
    cores = psutil.cpu_count() or 1
    with Pool(ExecutionConfig()) as pool:
        return [*_epochs(pool, recipe, cores), *_batched(pool, recipe, cores), _table()]


def _epochs(pool: Pool, recipe: Recipe, cores: int) -> list[Figure]:
    """Time an epoch on cached tokens against an epoch of end-to-end training."""
    steps = MEASURED_EPOCHS * CLIPS / recipe.train.batch_size
    end_to_end = partial(
        ratio,
        slow=partial(_train_networks, recipe.train.batch_size, cores),
        against="an epoch of two ResNet-34 and their classifier, end to end, one face and one spectrogram a clip",
        runs=3,
    )
    alone = end_to_end(
        "an epoch of the head on cached tokens, alone on one core",
        fast=partial(_together, recipe, [0], validated=False),
        target="",
    )
    together = end_to_end(
        f"an epoch of the head on cached tokens, as folds train: {GROUP_SIZE} together on each core",
        fast=partial(_spread, pool, recipe, cores, validated=False),
        target=">= 500",
    )
    return [times(alone, steps), times(together, steps * cores * GROUP_SIZE)]


def _batched(pool: Pool, recipe: Recipe, cores: int) -> list[Figure]:
    """Time replicas that train together against a plain loop and against the machine's matrix product."""
    replicas = cores * GROUP_SIZE
    batched = ratio(
        f"replica-epochs a second, {GROUP_SIZE} replicas together on each core",
        partial(_plain, recipe, cores),
        partial(_spread, pool, recipe, cores),
        against="a plain loop of PyTorch over one replica, on all cores",
        target=">= 3.2",
    )
    share = ratio(
        f"operations a second, {GROUP_SIZE} replicas together on each core",
        partial(_each, pool, _multiply, range(cores)),
        partial(_spread, pool, recipe, cores),
        against="the product of two matrices of 4096 x 4096 on each core",
        target=">= 52 %",
    )
    operations, product_operations = replicas * _operations(recipe), cores * 2 * MATRIX_ROWS**3
    figures = [times(batched, replicas), replace(times(share, 100 * operations / product_operations), unit="%")]
    return [*figures, *_accelerated(pool, recipe, cores)]


def _accelerated(pool: Pool, recipe: Recipe, cores: int) -> list[Figure]:
    """Time replicas on a GPU against the plain loop on all cores; return no figure if there is no GPU."""
    if not torch.cuda.is_available():
        return []
    figure = ratio(
        f"replica-epochs a second, {GROUP_SIZE} replicas together in each of {cores} processes, "
        f"on {torch.cuda.get_device_name()}",
        partial(_plain, recipe, cores),
        partial(_spread, pool, recipe, cores, device="cuda"),
        against="a plain loop of PyTorch over one replica, on all cores",
        target=">= 20",
        runs=3,
    )
    return [times(figure, cores * GROUP_SIZE)]


def _table() -> Figure:
    """Time the rows of the default table that change the training, as `fdan ablate` trains them, with an empty memo."""
    table = {row: it for row, it in read_ablations().items() if not select_sections(it, EXTRACTION)}
    protocols = {"speakers": SpeakerFolds(kind="speaker_folds", groups="each_speaker")}
    with tempfile.TemporaryDirectory() as empty, patch.dict(os.environ, {"FDAN_CACHE": empty}):
        _write_corpus(Path(empty))
        start = time.perf_counter()
        rows = open_rows(table, read_recipe(), dict.fromkeys(table, STANDARD), Path(empty))
        runs = plan_runs(rows[REFERENCE].corpus.clips, protocols, [0])
        trained = len(list(run_table(rows, runs, ExecutionConfig())))
        seconds = time.perf_counter() - start
    name = f"the table of ablations: {len(rows)} rows x {SPEAKERS} folds, each of which trains up to six networks"
    return single(name, seconds, "s", against=f"{trained} runs", target="")


def _write_corpus(folder: Path) -> None:
    """Write a manifest and two stores of random tokens, in the format of the stages."""
    rng = np.random.default_rng(0)
    clips = [
        Clip(
            clip_id=f"c{n:03}",
            corpus="made",
            path=f"{n}.mp4",
            audio_path="",
            speaker=f"made/{n % SPEAKERS}",
            emotion=f"e{n % CLASSES}",
            split="",
            sentence="",
            modalities="visual+acoustic",
            duration_s=1.0,
            sha256=f"{n:064x}",
        )
        for n in range(CLIPS)
    ]
    write_rows(folder / MANIFEST, clips, Clip)
    write_rows(folder / EXCLUSIONS, [], Exclusion)
    lists: dict[str, Any] = {name: {} for name in ("absent", "config", "excluded", "failures")}
    lists |= {
        "weights": {"name": "none", "sha256": ""},
        "upstream": {"config": {}, "fingerprint": "made", "version": "made"},
    }
    for path, count in ((VISUAL, FACES), (ACOUSTIC, WINDOWS)):
        attributes = lists | {"schema": EMBEDDINGS.name, "fingerprint": "made"}
        tokens = rng.standard_normal((CLIPS, count, WIDTH), np.float32)
        times = np.arange(count, dtype=np.float32) / count
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with open_writer(folder / path, like={"tokens": tokens[0], "times": times}, attributes=attributes) as writer:
            for clip, values in zip(clips, tokens, strict=True):
                writer.append(clip.clip_id, {"tokens": values, "times": times}, media_sha256=clip.sha256)


@cache
def _examples() -> Examples:
    with tempfile.TemporaryDirectory() as folder:
        _write_corpus(Path(folder))
        return open_corpus(Path(folder)).examples


def _together(recipe: Recipe, seeds: list[int], *, validated: bool = True, device: str = "cpu") -> None:
    """Train a replica per seed on all clips, or, if `validated`, on four fifths with validation on the rest."""
    order = torch.arange(CLIPS)
    training, validation = (order[CLIPS // 5 :], order[: CLIPS // 5]) if validated else (order, None)
    members = [Replica(recipe, training, validation, seed) for seed in seeds]
    train_together(_examples(), members, classes=CLASSES, device=device)


def _spread(pool: Pool, recipe: Recipe, cores: int, *, validated: bool = True, device: str = "cpu") -> None:
    """Train a group of replicas in each process."""
    seeds = [list(range(core * GROUP_SIZE, (core + 1) * GROUP_SIZE)) for core in range(cores)]
    _each(pool, partial(_together, recipe, validated=validated, device=device), seeds)


def _each(pool: Pool, function: Callable[[Any], Any], arguments: Iterable[Any]) -> None:
    """Call the function once per argument, on the workers of the pool, and wait for all calls."""
    for wait in [pool.submit(function, argument) for argument in arguments]:
        wait()


def _multiply(_: int) -> None:
    torch.set_num_threads(1)
    square = torch.ones(MATRIX_ROWS, MATRIX_ROWS)
    torch.mm(square, square)


def _operations(recipe: Recipe) -> int:
    """Return the number of floating-point operations in the training of one replica."""
    with FlopCounterMode(display=False) as counter:
        _together(recipe, [0])
    return int(counter.get_total_flops())


def _plain(recipe: Recipe, cores: int) -> None:
    """Train one replica as `_together` does, with a plain PyTorch loop over a module and an optimiser."""
    torch.set_num_threads(cores)
    order = torch.arange(CLIPS)
    examples, validation = _examples().take(order[CLIPS // 5 :]), _examples().take(order[: CLIPS // 5])
    head = build_head(recipe.head, examples, CLASSES)
    head.fit(examples)
    for module in list(head.modules()):
        for name, child in module.named_children():
            if isinstance(child, Dropout):  # its noise is generated outside the module
                setattr(module, name, torch.nn.Dropout(child.share))
            if isinstance(child, TokenDropout):
                setattr(module, name, _PlainTokenDropout(child.share))
    align = ALIGNMENTS[recipe.alignment.name](recipe.alignment)
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.train.learning_rate)
    for _ in range(recipe.train.epochs):
        head.train()
        for index in torch.randperm(len(examples)).split(recipe.train.batch_size):
            batch = examples.take(index)
            output = head(batch.visual, batch.acoustic)
            loss = classification_loss(output, batch, smoothing=0.1, weights=torch.ones(CLASSES))
            loss = loss + alignment_losses(output, batch, align, recipe.alignment).sum()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), recipe.train.gradient_norm)
            optimiser.step()
        head.eval()
        with torch.inference_mode():
            output = head(validation.visual, validation.acoustic)
            probabilities = fused_probabilities(output, validation.visual.present, validation.acoustic.present)
            uar(probabilities, validation.labels)


class _PlainTokenDropout(TokenDropout):
    """Hides tokens by random numbers that it generates itself."""

    def forward(self, tokens: Tokens) -> Tokens:
        """Hide other tokens each time."""
        self.noise = torch.rand(tokens.mask.shape)
        return super().forward(tokens)


def _train_networks(batch: int, cores: int) -> None:
    """Train both networks for one step, end to end."""
    torch.set_num_threads(cores)
    networks, optimiser = _build_networks()
    images = torch.ones(batch, 3, 224, 224)
    logits = sum(network(images) for network in networks)
    assert isinstance(logits, torch.Tensor)
    optimiser.zero_grad()
    functional.cross_entropy(logits, torch.arange(batch) % CLASSES).backward()
    optimiser.step()


@cache
def _build_networks() -> tuple[list[torch.nn.Module], torch.optim.Optimizer]:
    networks: list[torch.nn.Module] = [resnet34(num_classes=CLASSES).train() for _ in range(2)]
    return networks, torch.optim.AdamW([weight for network in networks for weight in network.parameters()])
