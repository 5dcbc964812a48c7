"""Many heads of one architecture as one module: their parameters stacked, one row per replica."""

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
    """Heads of one architecture. All parameters of a replica are one row, so that its optimiser has one tensor."""

    def __init__(self, heads: Sequence[Head], device: torch.device) -> None:
        """Copy the heads to the device; the heads do not change."""
        self.device = device
        self.base = deepcopy(heads[0]).to(device)  # functional calls modify it
        params, buffers = stack_module_state(list(heads))
        self.buffers = {name: value.to(device) for name, value in buffers.items()}
        transposed = {name: _transpose_matrix(value.detach(), value.ndim - 1) for name, value in params.items()}
        self.shapes = {name: value.shape[1:] for name, value in transposed.items()}
        # (replicas, numbers)
        self.rows = torch.cat([value.reshape(len(heads), -1) for value in transposed.values()], 1).to(device)
        self.random_modules = {name: it for name, it in self.base.named_modules() if isinstance(it, ReplicaRandom)}

    def to_parameters(self, rows: Tensor) -> State:
        """Return rows (..., numbers) as parameters by name, (..., *shape) each."""
        parts = rows.split([shape.numel() for shape in self.shapes.values()], -1)
        return {
            name: _transpose_matrix(part.reshape((*part.shape[:-1], *shape)), len(shape))
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def draw_noise(self, generators: Sequence[torch.Generator]) -> State:
        """Return fresh random numbers for every replica."""
        return {
            f"{name}.noise": module.draw_noise(generators).to(self.device)
            for name, module in self.random_modules.items()
        }

    def dry_run(self, examples: Examples) -> int:
        """Run one batch (B, …), which sets the shapes of the random numbers; return the number of aligned layers."""
        self.base.train()
        with torch.no_grad():
            output: HeadOutput = self.base(examples.visual, examples.acoustic)
        return len(output.visual_layers)

    def call(self, params: State, buffers: State, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Call one replica; `torch.vmap` maps this over all."""
        output: HeadOutput = functional_call(self.base, (params, buffers), (visual, acoustic))
        return output


def _transpose_matrix(value: Tensor, dimensions: int) -> Tensor:
    """Return a parameter as its row stores it, or back: matrices are transposed, as their gradients are."""
    return value.mT if dimensions == 2 else value
