"""Training many replicas of one architecture as one program, each with its own data, seed and settings.

All that is random is drawn for each replica from its own generator, and nothing of one reaches another: who trains in
company ends where it would have ended alone, but for the last digits of its sums. Generators are the CPU's whatever
the device is, so that a GPU, too, changes no more than last digits.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state

from pipeline.heads.contract import Head, HeadOutput
from pipeline.heads.examples import Examples
from pipeline.heads.layers import ReplicaRandom
from pipeline.store.tokens import Tokens

State = dict[str, Tensor]


class Stacked:
    """Heads of one architecture, all the numbers of a replica in one row, so that its optimiser has one tensor."""

    def __init__(self, heads: Sequence[Head], device: torch.device) -> None:
        """Stack them on the device; the heads themselves stay as they are."""
        self.device = device
        self.base = deepcopy(heads[0]).to(device)  # calling it with other numbers does not leave it whole
        params, buffers = stack_module_state(list(heads))
        self.buffers = {name: value.to(device) for name, value in buffers.items()}
        turned = {name: _turned(value.detach(), value.ndim - 1) for name, value in params.items()}
        self.shapes = {name: value.shape[1:] for name, value in turned.items()}
        # (replicas, numbers)
        self.rows = torch.cat([value.reshape(len(heads), -1) for value in turned.values()], 1).to(device)
        self.random_modules = {name: it for name, it in self.base.named_modules() if isinstance(it, ReplicaRandom)}

    def named(self, rows: Tensor) -> State:
        """Return rows (..., numbers) as the parameters that they are: (..., *shape) each."""
        parts = rows.split([shape.numel() for shape in self.shapes.values()], -1)
        return {
            name: _turned(part.reshape((*part.shape[:-1], *shape)), len(shape))
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def draw_noise(self, generators: Sequence[torch.Generator]) -> State:
        """Return fresh random numbers for every replica."""
        return {
            f"{name}.noise": module.draw_noise(generators).to(self.device)
            for name, module in self.random_modules.items()
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


def _turned(value: Tensor, dimensions: int) -> Tensor:
    """Return a parameter as it lies in its row, or back: a matrix transposed, since its gradient comes that way."""
    return value.mT if dimensions == 2 else value
