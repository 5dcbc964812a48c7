"""Training many replicas of one architecture as one program, with different data, seeds and settings.

Every replica has a separate random generator, and replicas do not interact: a replica trains as it would alone, but for
rounding in the last digits. Generators are on the CPU for any device, so a GPU changes no more than the last digits.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pipeline.alignments.checks import check_alignment
from pipeline.alignments.contract import Alignment
from pipeline.alignments.schedule import alignment_weights
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.builders import build
from pipeline.base.errors import ParameterError, TrainingError
from pipeline.heads.checks import CLIPS, check_head
from pipeline.heads.contract import Head
from pipeline.heads.examples import Examples
from pipeline.parallel.devices import find_device
from pipeline.store.tokens import Tokens
from pipeline.training._epoch import Epoch
from pipeline.training._optimiser import RowOptimiser
from pipeline.training._single import Single
from pipeline.training._stacked import HeadCall, Stacked
from pipeline.training._vectorising import explain, find_obstacle, log_once, trial_batch, try_together
from pipeline.training.answers import fused_probabilities, uar
from pipeline.training.losses import batch_losses, class_weights, learning_rates
from pipeline.training.recipe import Recipe, build_head


@dataclass(frozen=True)
class Replica:
    """One training run: its recipe and seed, and the positions (n,) of its parts in the examples."""

    recipe: Recipe
    training: Tensor
    validation: Tensor | None
    seed: int


def architecture(recipe: Recipe) -> tuple[Any, ...]:
    """Return the settings that replicas must share to be trained together."""
    alignment = recipe.alignment.model_dump(exclude={"weight", "gamma"})
    shared = {"epochs", "batch_size", "modality_dropout", "ensemble", "speaker_normalisation"}
    return str(recipe.head), str(alignment), str(recipe.train.model_dump(include=shared))


@dataclass(frozen=True)
class TrainedReplica:
    """A head after its last epoch, and its training curve: empty if `fit` trains it completely.

    `note` says why it was trained replica by replica; it is empty if replicas were trained together.
    """

    head: Head
    curve: list[Epoch]
    note: str = ""


def train_together(
    examples: Examples, replicas: Sequence[Replica], *, classes: int, device: str = "cpu"
) -> list[TrainedReplica]:
    """Train replicas of one architecture for all their epochs. Examples and returned heads are on the CPU.

    The validation part only adds its UAR to the curve: it chooses nothing. Raise ContractError if the head or the
    alignment breaks its contract.
    """
    torch_device = find_device(device)
    torch.set_num_threads(1)  # the same bits for any number of cores; processes use the other cores
    heads, states = [], []
    for replica in replicas:
        torch.manual_seed(replica.seed)
        heads.append(build_head(replica.recipe.head, examples, classes))
        heads[-1].fit(examples.take(replica.training))
        states.append(torch.get_rng_state())
    clips = replicas[0].training
    few = examples.batch(clips[torch.arange(CLIPS) % len(clips)])
    check_head(heads[0], few, classes=classes, name=replicas[0].recipe.head.name)
    if not any(parameter.requires_grad for parameter in heads[0].parameters()):
        return [TrainedReplica(head, []) for head in heads]  # `fit` trains them completely
    note = _why_one_by_one(examples, replicas, heads, classes=classes, device=torch_device)
    if not note:
        return _train(ReplicaBatch(examples, replicas, heads, classes=classes, device=torch_device))
    trained = []
    for replica, head, state in zip(replicas, heads, states, strict=True):
        torch.manual_seed(replica.seed)  # of every device, for layers that use the global generator
        torch.set_rng_state(state)
        single = ReplicaBatch(examples, [replica], [head], classes=classes, device=torch_device, stack=Single)
        trained += [replace(it, note=note) for it in _train(single)]
    return trained


def _train(batch: "ReplicaBatch") -> list[TrainedReplica]:
    for epoch in range(1, batch.replicas[0].recipe.train.epochs + 1):
        batch.train_epoch(epoch)
    return batch.finish()


_notes: dict[Any, str] = {}  # by architecture, for each of which one trial is enough


def _why_one_by_one(
    examples: Examples, replicas: Sequence[Replica], heads: Sequence[Head], *, classes: int, device: torch.device
) -> str:
    """Return the reason to train replicas one by one, which is logged, too; an empty text if there is none."""
    recipe, widths = replicas[0].recipe, (examples.visual.width, examples.acoustic.width)
    key = architecture(recipe), type(heads[0]), repr(heads[0]), heads[0].vectorise, widths, classes, device.type
    if key not in _notes:
        first, last = (replicas[it].training for it in (0, -1))
        losses = partial(batch_losses, align=_build_alignment(recipe, classes), config=recipe.alignment)

        def trial() -> str | None:
            batch = trial_batch(examples.to(device), first, last, classes)
            return try_together([heads[0], heads[-1]], batch, losses, device)

        obstacle = find_obstacle(heads[0], recipe.head.name, trial)
        _notes[key] = explain(recipe.head.name, obstacle) if obstacle else ""
    if _notes[key]:
        log_once(_notes[key])
    return _notes[key]


def _build_alignment(recipe: Recipe, classes: int) -> Alignment:
    name = recipe.alignment.name
    align: Alignment = build(ALIGNMENTS, name, "alignment", recipe.alignment, expected=Callable)
    check_alignment(align, classes=classes, name=name)
    return align


def _layer_weights(recipe: Recipe, layers: int) -> Tensor:
    """Return the weight of each aligned layer (layers,)."""
    given = recipe.alignment.layer_weights
    if given and layers and len(given) != layers:
        raise ParameterError(
            f"alignment.layer_weights has {len(given)} numbers, but the head {recipe.head.name} aligns {layers} "
            "layers; give one number per layer, or none"
        )
    return torch.tensor(given) if given and layers else torch.ones(layers)


class ReplicaBatch:
    """The state of replicas that are being trained: `Stacked`, or one replica as a `Single` head."""

    def __init__(
        self,
        examples: Examples,
        replicas: Sequence[Replica],
        heads: Sequence[Head],
        *,
        classes: int,
        device: torch.device,
        stack: type[Stacked | Single] = Stacked,
    ) -> None:
        recipe = replicas[0].recipe
        epochs = recipe.train.epochs
        self.replicas, self.heads, self.device = replicas, heads, device
        self.examples, self.labels = examples.to(device), examples.labels
        self.size = recipe.train.batch_size
        self._losses = partial(batch_losses, align=_build_alignment(recipe, classes), config=recipe.alignment)
        self.generators = [torch.Generator().manual_seed(it.seed) for it in replicas]
        self.stacked = stack(heads, device)
        layers = self.stacked.dry_run(self.examples.batch(replicas[0].training[:1].expand(self.size).to(device)))
        self.layer_weights = _layer_weights(recipe, layers).to(device)
        self.class_weights = torch.stack(
            [class_weights(it.recipe.train, self.labels[it.training], classes) for it in replicas]
        ).to(device)
        self.optimisers = [
            RowOptimiser(row, weight_decay=it.recipe.train.weight_decay)
            for row, it in zip(self.stacked.rows, replicas, strict=True)
        ]
        self.gradient_norms = torch.tensor([it.recipe.train.gradient_norm for it in replicas], device=device)
        self.per_epoch = [self.stacked.count_steps(len(it.training), self.size) for it in replicas]
        self.curves: list[list[Epoch]] = [[] for _ in replicas]
        totals = [epochs * steps for steps in self.per_epoch]
        self.rates = [learning_rates(it.recipe.train, total) for it, total in zip(replicas, totals, strict=True)]
        self.shares = [alignment_weights(it.recipe.alignment, n) for it, n in zip(replicas, totals, strict=True)]
        self.units = self._measure_units()
        self.smoothing = torch.tensor([it.recipe.train.label_smoothing for it in replicas], device=device)

    @torch.no_grad()
    def _measure_units(self) -> Tensor:
        """Return the unit of each layer's distance (replicas, layers): 1, or the distance of the untrained layers.

        It is measured on as many clips as a batch has, at even distances in the training part.
        """
        if self.replicas[0].recipe.alignment.unit == "absolute":
            return torch.ones(len(self.replicas), len(self.layer_weights), device=self.device)
        self.stacked.base.eval()
        index = torch.stack(
            [it.training[torch.linspace(0, len(it.training) - 1, self.size).long()] for it in self.replicas]
        ).to(self.device)
        visual, acoustic = (it.batches(index)[:3] for it in (self.examples.visual, self.examples.acoustic))
        smoothing = torch.zeros(len(self.replicas), device=self.device)
        _, layers = self.stacked.map(
            self._losses, visual, acoustic, self.examples.labels[index], smoothing, self.class_weights
        )
        return torch.where(layers > 0, layers, 1.0)

    def train_epoch(self, epoch: int) -> None:
        """Train every replica on each of its clips once, then validate."""
        self.stacked.base.train()
        steps = max(self.per_epoch)
        index = torch.zeros(len(self.replicas), steps * self.size, dtype=torch.int64)
        valid = torch.zeros(index.shape, dtype=torch.bool)
        for row, (replica, generator) in enumerate(zip(self.replicas, self.generators, strict=True)):
            order = replica.training[torch.randperm(len(replica.training), generator=generator)]
            count = min(len(order), index.shape[1])
            index[row, :count] = order[:count]
            valid[row, :count] = True
        batches = zip(index.split(self.size, 1), valid.split(self.size, 1), strict=True)
        step_losses = [self._step(*batch, epoch, number) for number, batch in enumerate(batches)]
        losses = torch.stack(step_losses).cpu()  # (steps, replicas, 1 + layers)
        scores = self._validate()
        for row, score in enumerate(scores):
            cross_entropy, *alignment = losses[: self.per_epoch[row], row].mean(0).tolist()
            self.curves[row].append(Epoch(epoch, cross_entropy, tuple(alignment), score))

    def _step(self, index: Tensor, valid: Tensor, epoch: int, number: int) -> Tensor:
        """Take one step on the valid clips (replicas, B); return the unweighted losses (replicas, 1 + layers)."""
        running = valid.any(1).tolist()
        index, valid = index.to(self.device), valid.to(self.device)
        active = valid.any(1)
        # A replica without a batch must not advance its generator, as it would not alone.
        idle = torch.Generator()
        generators = [it if on else idle for it, on in zip(self.generators, running, strict=True)]
        tokens = [part.batches(index, generators) for part in (self.examples.visual, self.examples.acoustic)]
        kept = self._keep_modalities(tokens, generators)
        clips = index.shape[1] if self.stacked.padded else int(valid.sum())
        visual, acoustic = (
            (it.values[:, :clips], it.times[:, :clips], (it.mask & (valid & keep)[..., None])[:, :clips])
            for it, keep in zip(tokens, kept, strict=True)
        )
        self.stacked.draw_noise(generators, clips)
        labels = self.examples.labels[index[:, :clips]]
        cross_entropy, layers = self.stacked.map(
            self._losses, visual, acoustic, labels, self.smoothing, self.class_weights
        )
        done = [(epoch - 1) * steps + min(number, steps - 1) for steps in self.per_epoch]
        shares = torch.stack([share[at] for share, at in zip(self.shares, done, strict=True)]).to(self.device)
        loss = cross_entropy + shares * ((layers / self.units) @ self.layer_weights)
        if not (torch.isfinite(loss) | ~active).all():
            self._raise_not_finite(cross_entropy, layers, epoch, number)
        grads = self.stacked.gradients((loss * active).sum())
        grads *= (self.gradient_norms / (grads.norm(dim=1) + 1e-6)).clamp(max=1)[:, None]
        for row, optimiser in enumerate(self.optimisers):
            if running[row]:
                optimiser.step(grads[row], rate=float(self.rates[row][done[row]]))
        return torch.cat([cross_entropy.detach()[:, None], layers.detach()], 1)

    def _keep_modalities(self, tokens: Sequence[Tokens], generators: Sequence[torch.Generator]) -> list[Tensor]:
        """Return whether each clip (replicas, B) keeps its visual and its acoustic tokens at this step."""
        both = tokens[0].mask.any(-1) & tokens[1].mask.any(-1)
        share = self.replicas[0].recipe.train.modality_dropout
        if not share:
            return [torch.ones_like(both)] * 2
        numbers = torch.stack([torch.rand(both.shape[1], generator=it) for it in generators]).to(self.device)
        return [~both | (numbers >= share / 2), ~both | (numbers < 1 - share / 2)]

    def _raise_not_finite(self, cross_entropy: Tensor, layers: Tensor, epoch: int, number: int) -> None:
        row = int((~torch.isfinite(cross_entropy + layers.sum(1))).nonzero()[0])
        where = [f"layer {it + 1}" for it, value in enumerate(layers[row]) if not torch.isfinite(value)]
        raise TrainingError(
            f"the loss is not finite at epoch {epoch}, batch {number}: cross-entropy {cross_entropy[row].item():g}, "
            f"alignment {layers[row].tolist()}{' in ' + ', '.join(where) if where else ''}; "
            "lower train.learning_rate or alignment.weight"
        )

    @torch.no_grad()
    def _validate(self) -> list[float]:
        """Return every replica's UAR on its validation part; NaN without one."""
        scores = [math.nan] * len(self.replicas)
        rows = [row for row, it in enumerate(self.replicas) if it.validation is not None]
        parts = [part for it in self.replicas if (part := it.validation) is not None]
        if parts:
            self.stacked.base.eval()
            index = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True).to(self.device)
            # The batch size of training: larger batches do not fit into the cache.
            answers = torch.cat([self._answer(rows, batch) for batch in index.split(self.size, 1)], 1).cpu()
            for row, part, answer in zip(rows, parts, answers, strict=True):
                scores[row] = uar(answer[: len(part)], self.labels[part])
        return scores

    def _answer(self, rows: list[int], index: Tensor) -> Tensor:
        """Return the fused probabilities (rows, n, C) of some replicas for their clips `index` (rows, n)."""
        visual, acoustic = (it.batches(index)[:3] for it in (self.examples.visual, self.examples.acoustic))

        def answer(head: HeadCall, visual: tuple[Tensor, ...], acoustic: tuple[Tensor, ...]) -> Tensor:
            tokens = Tokens(*visual), Tokens(*acoustic)
            return fused_probabilities(head(*tokens), tokens[0].present, tokens[1].present)

        answers: Tensor = self.stacked.map(answer, visual, acoustic, rows=rows)
        return answers

    def finish(self) -> list[TrainedReplica]:
        """Return the heads as they are now."""
        for row, head in enumerate(self.heads):
            head.load_state_dict(self.stacked.trained_state(row), strict=False)
        return [TrainedReplica(head, curve) for head, curve in zip(self.heads, self.curves, strict=True)]
