"""Training many replicas of one architecture as one program, each with its own data, seed and settings.

All that is random is drawn for each replica from its own generator, and nothing of one reaches another: who trains in
company ends where it would have ended alone, but for the last digits of its sums.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from pipeline.dataset import Examples, Tokens
from pipeline.errors import ParameterError, TrainingError
from pipeline.heads import Head, HeadOutput
from pipeline.heads.contract import Drawn
from pipeline.losses import ALIGNMENTS, Alignment, progress_weight
from pipeline.registry import lookup
from pipeline.training import (
    Epoch,
    Recipe,
    Trained,
    alignment_losses,
    build_head,
    class_weights,
    classification_loss,
    fused_probabilities,
    uar,
)

State = dict[str, Tensor]
MOMENTS = (0.9, 0.999)  # of AdamW
EPSILON = 1e-8


@dataclass(frozen=True)
class Replica:
    """One training run: a recipe, a seed, and the places (n,) among the examples of what trains and what validates."""

    recipe: Recipe
    training: Tensor
    validation: Tensor | None
    seed: int


def architecture(recipe: Recipe) -> tuple[Any, ...]:
    """Return what replicas must have in common to be trained together."""
    alignment = recipe.alignment.model_dump(exclude={"weight", "gamma"})
    return str(recipe.head), str(alignment), recipe.train.epochs, recipe.train.batch_size


class Stacked:
    """Heads of one architecture, their numbers stacked: (replicas, …)."""

    def __init__(self, heads: Sequence[Head]) -> None:
        """Stack them; the heads themselves stay as they are."""
        self.base = deepcopy(heads[0])  # calling it with other numbers does not leave it whole
        self.params, self.buffers = stack_module_state(list(heads))
        self.drawn = {name: it for name, it in self.base.named_modules() if isinstance(it, Drawn)}

    def draw(self, generators: Sequence[torch.Generator]) -> State:
        """Return fresh random numbers for every replica."""
        return {
            f"{name}.drawn": torch.stack([module.draw(generator) for generator in generators])
            for name, module in self.drawn.items()
        }

    def meet(self, examples: Examples) -> int:
        """Show the heads one batch (B, …), so that they know for what shapes to draw; return how many layers align."""
        self.base.train()
        with torch.no_grad():
            output: HeadOutput = self.base(examples.visual, examples.acoustic)
        return len(output.visual_layers)

    def call(self, params: State, buffers: State, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Call one replica; to be mapped over all."""
        output: HeadOutput = functional_call(self.base, (params, buffers), (visual, acoustic))
        return output


class AdamW:
    """Decoupled weight decay, arXiv 1711.05101; learning rates and clipping norms are the replicas' own."""

    def __init__(self, params: State) -> None:
        """Start without momentum."""
        self.params = params
        self.first = {name: torch.zeros_like(value) for name, value in params.items()}
        self.second = {name: torch.zeros_like(value) for name, value in params.items()}
        self.steps = torch.zeros(len(next(iter(params.values()))))

    @torch.no_grad()
    def step(self, rates: Tensor, decays: Tensor, norms: Tensor, active: Tensor) -> None:
        """Take a step with learning rates, weight decays and largest gradient norms (replicas,) where `active`."""
        grads = {name: value.grad for name, value in self.params.items() if value.grad is not None}
        lengths = torch.stack([grad.flatten(1).square().sum(1) for grad in grads.values()]).sum(0).sqrt()
        scale = (norms / (lengths + 1e-6)).clamp(max=1)
        self.steps += active
        rates = rates * active
        ages = self.steps.clamp(min=1)
        corrections = 1 - MOMENTS[0] ** ages, (1 - MOMENTS[1] ** ages).sqrt()
        for name, grad in grads.items():
            value, first, second = self.params[name], self.first[name], self.second[name]

            def wide(numbers: Tensor, like: Tensor = value) -> Tensor:
                return numbers.view(-1, *[1] * (like.ndim - 1))

            grad = grad * wide(scale)
            on = wide(active)
            first.lerp_(grad, 1 - MOMENTS[0]) if active.all() else first.add_((grad - first) * (1 - MOMENTS[0]) * on)
            second.add_((grad.square() - second) * (1 - MOMENTS[1]) * on)
            value.mul_(1 - wide(rates * decays))
            value.sub_(wide(rates / corrections[0]) * first / (second.sqrt() / wide(corrections[1]) + EPSILON))
            value.grad = None


def train(
    recipe: Recipe, training: Examples, validation: Examples | None, *, classes: int, seed: int, epochs: int = 0
) -> Trained:
    """Train one head; see `train_together`."""
    examples = training if validation is None else training.joined(validation)
    places = torch.arange(len(examples)).split([len(training), len(examples) - len(training)])
    replica = Replica(recipe, places[0], None if validation is None else places[1], seed)
    return train_together(examples, [replica], classes=classes, epochs=epochs)[0]


def train_together(examples: Examples, replicas: Sequence[Replica], *, classes: int, epochs: int = 0) -> list[Trained]:
    """Train replicas of one architecture; return each at the epoch of its best UAR on validation, or at its last.

    `epochs` replaces the recipes' number of epochs; the schedules then end there.
    """
    torch.set_num_threads(1)  # the same bits on every machine's number of cores; processes make use of these
    heads = []
    for it in replicas:
        torch.manual_seed(it.seed)
        heads.append(build_head(it.recipe.head, examples, classes))
        heads[-1].fit(examples.take(it.training))
    if not any(parameter.requires_grad for parameter in heads[0].parameters()):
        return [Trained(head, [], 0) for head in heads]  # fitting was all
    run = _Run(examples, replicas, heads, classes=classes, epochs=epochs or replicas[0].recipe.train.epochs)
    for epoch in range(1, run.epochs + 1):
        if all(run.stopped):
            break
        run.train_epoch(epoch)
    return run.finish()


def _layer_weights(recipe: Recipe, layers: int) -> Tensor:
    """Return how much each aligned layer counts (layers,)."""
    given = recipe.alignment.layer_weights
    if given and layers and len(given) != layers:
        raise ParameterError(
            f"alignment.layer_weights has {len(given)} numbers, but the head {recipe.head.name} aligns {layers} "
            "layers; give one number for each, or none at all"
        )
    return torch.tensor(given) if given and layers else torch.ones(layers)


class _Run:
    """The state of replicas that are being trained."""

    def __init__(
        self, examples: Examples, replicas: Sequence[Replica], heads: Sequence[Head], *, classes: int, epochs: int
    ) -> None:
        recipe = replicas[0].recipe
        self.examples, self.replicas, self.heads, self.epochs = examples, replicas, heads, epochs
        self.size = recipe.train.batch_size
        self.align: Alignment = lookup(ALIGNMENTS, recipe.alignment.name, "alignment")(recipe.alignment)
        self.generators = [torch.Generator().manual_seed(it.seed) for it in replicas]
        self.stacked = Stacked(heads)
        layers = self.stacked.meet(examples.take(replicas[0].training[:1].expand(self.size)))
        self.layer_weights = _layer_weights(recipe, layers)
        self.class_weights = torch.stack(
            [class_weights(it.recipe.train, examples.labels[it.training], classes) for it in replicas]
        )
        self.optimiser = AdamW(self.stacked.params)
        self.per_epoch = [math.ceil(len(it.training) / self.size) for it in replicas]
        self.curves: list[list[Epoch]] = [[] for _ in replicas]
        self.best = {name: value.detach().clone() for name, value in self.stacked.params.items()}
        self.best_epoch = [epochs] * len(replicas)
        self.best_uar = [-1.0] * len(replicas)
        self.stopped = [False] * len(replicas)

    def _of_each(self, section: str, name: str) -> Tensor:
        """Return one setting of every replica (replicas,)."""
        return torch.tensor([float(getattr(getattr(it.recipe, section), name)) for it in self.replicas])

    def train_epoch(self, epoch: int) -> None:
        """Take every replica once through its clips, then through its validation part."""
        self.stacked.base.train()
        steps = max(self.per_epoch)
        index = torch.zeros(len(self.replicas), steps * self.size, dtype=torch.int64)
        valid = torch.zeros(index.shape, dtype=torch.bool)
        for row, (it, generator) in enumerate(zip(self.replicas, self.generators, strict=True)):
            if self.stopped[row]:
                continue
            count = len(it.training)
            index[row, :count] = it.training[torch.randperm(count, generator=generator)]
            valid[row, :count] = True
        found = []
        for number, (part, there) in enumerate(zip(index.split(self.size, 1), valid.split(self.size, 1), strict=True)):
            found.append(self._step(part, there, epoch, number))
        losses = torch.stack(found)  # (steps, replicas, 1 + layers)
        scores = self._validate()
        for row, (it, score) in enumerate(zip(self.replicas, scores, strict=True)):
            if self.stopped[row]:
                continue
            cross_entropy, *alignment = losses[: self.per_epoch[row], row].mean(0).tolist()
            self.curves[row].append(Epoch(epoch, cross_entropy, tuple(alignment), score))
            if it.validation is None or score > self.best_uar[row]:
                self.best_uar[row], self.best_epoch[row] = score, epoch
                for name, value in self.stacked.params.items():
                    self.best[name][row] = value[row].detach()
            patience = it.recipe.train.patience
            self.stopped[row] = patience is not None and epoch - self.best_epoch[row] >= patience

    def _step(self, index: Tensor, valid: Tensor, epoch: int, number: int) -> Tensor:
        """Take one step with the clips (replicas, B) that are valid; return both losses of each, unweighted."""
        active = valid.any(1)
        # Who has no batch left draws nothing: it would draw otherwise than alone.
        idle = torch.Generator()
        generators = [it if on else idle for it, on in zip(self.generators, active.tolist(), strict=True)]
        tokens = [part.batches(index, generators) for part in (self.examples.visual, self.examples.acoustic)]
        visual, acoustic = ((it.values, it.times, it.mask & valid[..., None]) for it in tokens)
        buffers = self.stacked.buffers | self.stacked.draw(generators)
        smoothing = self._of_each("train", "label_smoothing")
        cross_entropy, layers = vmap(self._losses)(
            self.stacked.params, buffers, visual, acoustic, self.examples.labels[index], smoothing, self.class_weights
        )
        done = torch.tensor([(epoch - 1) * steps + number for steps in self.per_epoch])
        total = torch.tensor([self.epochs * steps for steps in self.per_epoch])
        loss = cross_entropy + self._weights(done / total) * (layers @ self.layer_weights)
        if not torch.isfinite(loss[active]).all():
            self._complain(cross_entropy, layers, epoch, number)
        (loss * active).sum().backward()
        rates = self._of_each("train", "learning_rate") * self._schedule(done, total)
        decays, norms = self._of_each("train", "weight_decay"), self._of_each("train", "gradient_norm")
        self.optimiser.step(rates, decays, norms, active.float())
        return torch.cat([cross_entropy.detach()[:, None], layers.detach()], 1)

    def _losses(
        self,
        params: State,
        buffers: State,
        visual: tuple[Tensor, ...],
        acoustic: tuple[Tensor, ...],
        labels: Tensor,
        smoothing: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy () and the alignment of each layer (layers,) of one replica."""
        batch = Examples(Tokens(*visual), Tokens(*acoustic), labels)
        output = self.stacked.call(params, buffers, batch.visual, batch.acoustic)
        return (
            classification_loss(output, batch, smoothing=smoothing, weights=weights),
            alignment_losses(output, batch, self.align, self.replicas[0].recipe.alignment),
        )

    def _weights(self, progress: Tensor) -> Tensor:
        """Return how much the alignment counts at this progress (replicas,) in 0..1."""
        gammas = self._of_each("alignment", "gamma")
        shares = [progress_weight(float(p), gamma=float(g)) for p, g in zip(progress, gammas, strict=True)]
        return self._of_each("alignment", "weight") * torch.tensor(shares)

    def _schedule(self, done: Tensor, total: Tensor) -> Tensor:
        """Return the share of the learning rate (replicas,): it grows linearly, then falls along a cosine to 0."""
        warm = (self._of_each("train", "warmup") * total).round().clamp(min=1)
        fall = 0.5 * (1 + torch.cos(math.pi * (done - warm) / (total - warm).clamp(min=1)))
        return torch.where(done < warm, (done + 1) / warm, fall)

    def _complain(self, cross_entropy: Tensor, layers: Tensor, epoch: int, number: int) -> None:
        row = int((~torch.isfinite(cross_entropy + layers.sum(1))).nonzero()[0])
        where = [f"layer {it + 1}" for it, value in enumerate(layers[row]) if not torch.isfinite(value)]
        raise TrainingError(
            f"the loss is not finite at epoch {epoch}, batch {number}: cross-entropy {cross_entropy[row].item():g}, "
            f"alignment {layers[row].tolist()}{' in ' + ', '.join(where) if where else ''}; "
            "lower train.learning_rate or alignment.weight"
        )

    @torch.no_grad()
    def _validate(self) -> list[float]:
        """Return every replica's UAR on its validation part; nan without one."""
        places = [it.validation for it in self.replicas if it.validation is not None]
        if len(places) < len(self.replicas):
            return [math.nan] * len(self.replicas)
        self.stacked.base.eval()
        index = torch.nn.utils.rnn.pad_sequence(places, batch_first=True)
        visual, acoustic = (
            (it.values[index], it.times[index], it.mask[index]) for it in (self.examples.visual, self.examples.acoustic)
        )
        answers = vmap(self._answers)(self.stacked.params, self.stacked.buffers, visual, acoustic)
        return [
            uar(answer[: len(place)], self.examples.labels[place])
            for answer, place in zip(answers, places, strict=True)
        ]

    def _answers(
        self, params: State, buffers: State, visual: tuple[Tensor, ...], acoustic: tuple[Tensor, ...]
    ) -> Tensor:
        seen, heard = Tokens(*visual), Tokens(*acoustic)
        return fused_probabilities(self.stacked.call(params, buffers, seen, heard), seen.present, heard.present)

    def finish(self) -> list[Trained]:
        """Return the heads as they were at their best."""
        for row, head in enumerate(self.heads):
            head.load_state_dict({name: value[row] for name, value in self.best.items()}, strict=False)
        return [
            Trained(head, curve, epoch)
            for head, curve, epoch in zip(self.heads, self.curves, self.best_epoch, strict=True)
        ]
