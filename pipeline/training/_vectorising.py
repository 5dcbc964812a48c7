"""Whether the replicas of a head can train together: its layers, then a trial on a few clips."""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from pipeline.base.errors import ParameterError, describe
from pipeline.heads.contract import Head
from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens
from pipeline.training._single import Single
from pipeline.training._stacked import Stacked, State

CLIPS = 8  # of each of two replicas, for the trial
STEPS = 2  # what a layer keeps in the first one shows in the second
TOLERANCE = 1e-3  # of the largest number: rounding in 32 bits is far below, another computation far above
TIMES_SLOWER = 2  # measured with the head `fdan`, 20 replicas on one core
log = logging.getLogger(__name__)


def find_obstacle(head: Head, name: str, trial: Callable[[], str | None]) -> str | None:
    """Return why replicas of a head must train one by one; None if they can train together.

    `trial` looks for what the layers do not show. Raise ParameterError if the head asks for the impossible.
    """
    if head.vectorise is False:
        return "it says `vectorise = False`"
    obstacle = layer_obstacle(head) or trial()
    if obstacle and head.vectorise:
        raise ParameterError(
            f"head {name} says `vectorise = True`, but {obstacle}; remove that line, and its replicas train one by one"
        )
    return obstacle


def explain(name: str, obstacle: str) -> str:
    """Return the line that says why training is slow."""
    return f"head {name} is trained replica by replica, about {TIMES_SLOWER} times slower on a CPU: {obstacle}"


@cache
def log_once(line: str) -> None:
    """Log a line, once in this process."""
    log.info("%s", line)


def layer_obstacle(head: Head) -> str | None:
    """Return the first layer that needs the global random generator, updates buffers, or has no vectorised form."""
    for name, module in head.named_modules():
        if _is_obstacle(module):
            return f"its layer `{name}` ({type(module).__name__}) cannot be vectorised"
    return None


def _is_obstacle(module: nn.Module) -> bool:
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention):
        return module.dropout > 0
    if isinstance(module, _InstanceNorm):
        return module.track_running_stats
    return isinstance(module, nn.RNNBase | nn.RNNCellBase | _BatchNorm | nn.RReLU)


Losses = Callable[..., tuple[Tensor, Tensor]]
Batch = tuple[Any, ...]  # what `batch_losses` takes after the head: tensors (replicas, …), or tuples of them


def trial_batch(examples: Examples, first: Tensor, last: Tensor, classes: int) -> Batch:
    """Return a few clips at even distances for each of two replicas, from the positions (n,) of their clips."""
    parts = [it[torch.linspace(0, len(it) - 1, CLIPS).long()] for it in (first, last.flip(0))]
    index = torch.stack(parts).to(examples.labels.device)
    visual, acoustic = (tuple(it.batches(index)[:3]) for it in (examples.visual, examples.acoustic))
    smoothing, weights = torch.zeros(2), torch.ones(2, classes)
    return visual, acoustic, examples.labels[index], smoothing.to(index.device), weights.to(index.device)


def try_together(heads: Sequence[Head], batch: Batch, losses: Losses, device: torch.device) -> str | None:
    """Train copies of two heads together and one by one, without an optimiser; return what differs, or None."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        singles = [Single([head], device) for head in heads]
        expected = [_run(it, _row(batch, row), losses, [row]) for row, it in enumerate(singles)]
        noise = {f"{name}.noise" for name in singles[0].random_modules}
        for name, before in heads[0].named_buffers():
            if name not in noise and not torch.equal(before.to(device), singles[0].base.get_buffer(name)):
                return f"its buffer `{name}` changes in training, so it cannot be vectorised"
        together = Stacked(heads, device)
        running = _watch(together.base)
        try:
            results = _run(together, batch, losses, [*range(len(heads))])
        except Exception as error:  # noqa: BLE001 - one by one, the same head raised none
            return f"its {_describe(running)} cannot be vectorised ({describe(error).split('. ')[0]})"
    for name, values in results.items():
        if not _equal(values, torch.cat([it[name] for it in expected])):
            return f"it cannot be vectorised, because two replicas together get another {name}"
    return None


def _row(batch: Batch, row: int) -> Batch:
    """Return the batch of one replica, with a first axis of length 1."""
    part = slice(row, row + 1)
    return tuple(it[part] if isinstance(it, Tensor) else tuple(value[part] for value in it) for it in batch)


def _run(heads: Stacked | Single, batch: Batch, losses: Losses, seeds: Sequence[int]) -> State:
    """Return losses and gradients of some training steps, and the loss in evaluation, each (replicas, …) by name."""
    results: State = {}
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    visual, acoustic = (Tokens(*(value[0] for value in batch[part])) for part in (0, 1))
    heads.dry_run(Examples(visual, acoustic, batch[2][0]))
    heads.base.train()
    for step in range(1, STEPS + 1):
        heads.draw_noise(generators, CLIPS)
        cross_entropy, layers = heads.map(losses, *batch)
        grads = heads.to_parameters(heads.gradients(cross_entropy.sum() + layers.sum()))
        results[f"loss at step {step}"] = cross_entropy.detach()
        results[f"gradient at step {step}"] = torch.cat([grads[it].reshape(len(seeds), -1) for it in sorted(grads)], 1)
    heads.base.eval()
    with torch.no_grad():
        results["loss in evaluation"] = heads.map(losses, *batch)[0]
    return results


def _equal(values: Tensor, expected: Tensor) -> bool:
    """Return whether numbers are equal but for rounding, as a share of the largest one."""
    scale = float(expected.nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(values, expected, rtol=0, atol=TOLERANCE * scale + 1e-6, equal_nan=True)


def _watch(head: Head) -> list[tuple[str, nn.Module]]:
    """Return a list that holds the layers whose `forward` is running, the innermost last."""
    running: list[tuple[str, nn.Module]] = []
    for name, module in head.named_modules():
        module.register_forward_pre_hook(lambda module, _, name=name: running.append((name, module)))
        module.register_forward_hook(lambda *_: running.pop() and None)
    return running


def _describe(running: Sequence[tuple[str, nn.Module]]) -> str:
    """Return a name for what was running when an error was raised."""
    if not running:
        return "loss or gradient"
    name, module = running[-1]
    return f"layer `{name}` ({type(module).__name__})" if name else f"`{type(module).__name__}.forward`"
