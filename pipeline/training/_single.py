"""One head that is trained as any PyTorch module is, for layers that `torch.func.vmap` cannot map over replicas."""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.heads.contract import Head, HeadOutput
from pipeline.heads.examples import Examples
from pipeline.heads.layers import ReplicaRandom
from pipeline.training._stacked import State


class Single:
    """A single head with the methods of `Stacked`. Its parameters are parts of one row, which its optimiser changes.

    It calls the head as a user would, so layers may update buffers and use the global random generator. Its last batch
    of an epoch is not padded: a clip without any tokens would count in the statistics of batch norm.
    """

    padded = False

    def __init__(self, heads: Sequence[Head], device: torch.device) -> None:
        """Copy the one head to the device; the head does not change."""
        (head,) = heads
        self.device = device
        self.base = deepcopy(head).to(device)
        self.parameters = {name: it for name, it in self.base.named_parameters() if it.requires_grad}
        self.rows = torch.cat([it.detach().reshape(-1) for it in self.parameters.values()])[None]
        for name, part in self.to_parameters(self.rows[0]).items():
            self.parameters[name].data = part
        self.random_modules = {name: it for name, it in self.base.named_modules() if isinstance(it, ReplicaRandom)}
        self.normalises_batches = any(isinstance(it, _BatchNorm) for it in self.base.modules())
        self.shapes: dict[int, dict[str, torch.Size | None]] = {}  # of the input of random modules, by clips

    def to_parameters(self, rows: Tensor) -> State:
        """Return rows (..., numbers) as parameters by name, (..., *shape) each."""
        parts = rows.split([it.numel() for it in self.parameters.values()], -1)
        return {
            name: part.view((*part.shape[:-1], *it.shape))
            for (name, it), part in zip(self.parameters.items(), parts, strict=True)
        }

    def trained_state(self, row: int) -> State:
        """Return the state of the head, with the buffers."""
        return self.base.state_dict()

    def count_steps(self, clips: int, size: int) -> int:
        """Return the number of batches of an epoch; batch norm cannot take a last batch of a single clip."""
        return clips // size if self.normalises_batches and clips % size == 1 < clips else math.ceil(clips / size)

    def dry_run(self, examples: Examples) -> int:
        """Run one batch (B, …), which sets the shapes of the random numbers; return the number of aligned layers."""
        self.batch = examples
        return self._measure_shapes(len(examples))

    def _measure_shapes(self, clips: int) -> int:
        """Run a copy of the head on so many clips, and note the shapes of its random modules' input."""
        head, batch = deepcopy(self.base).train(), self.batch.batch(torch.arange(clips, device=self.device))
        for name in self.random_modules:
            head.get_submodule(name).noise = torch.ones((), device=self.device)  # fits any number of clips
        with torch.no_grad(), torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            output: HeadOutput = head(batch.visual, batch.acoustic)
        modules = {name: head.get_submodule(name) for name in self.random_modules}
        self.shapes[clips] = {name: it.shape for name, it in modules.items() if isinstance(it, ReplicaRandom)}
        return len(output.visual_layers)

    def draw_noise(self, generators: Sequence[torch.Generator], clips: int) -> None:
        """Take fresh random numbers: those for a full batch, as `Stacked` does, of which a smaller one uses a part."""
        if clips not in self.shapes:
            self._measure_shapes(clips)
        for name, module in self.random_modules.items():
            module.shape = self.shapes[len(self.batch)][name]
            noise, shape = module.draw_noise(generators)[0], self.shapes[clips][name] or torch.Size()
            module.noise = noise[tuple(slice(it) for it in shape[: noise.ndim])].to(self.device)

    def map(self, function: Callable[..., Any], *arguments: Any, rows: list[int] | None = None) -> Any:
        """Return `function(head, *arguments)` with a new first axis of length 1, which the arguments have, too."""
        first = [it[0] if isinstance(it, Tensor) else tuple(part[0] for part in it) for it in arguments]
        outputs = function(self.base, *first)
        return outputs[None] if isinstance(outputs, Tensor) else tuple(it[None] for it in outputs)

    def gradients(self, loss: Tensor) -> Tensor:
        """Return the gradient of the loss () with regard to the row (1, numbers)."""
        grads = torch.autograd.grad(loss, [*self.parameters.values()], materialize_grads=True)
        return torch.cat([it.reshape(-1) for it in grads])[None]
