"""Many heads of one architecture as one module: their parameters stacked, one row per replica."""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from pipeline.heads.contract import Head, HeadOutput
from pipeline.heads.examples import Examples
from pipeline.heads.layers import ReplicaRandom
from pipeline.store.tokens import Tokens

State = dict[str, Tensor]
HeadCall = Callable[[Tokens, Tokens], HeadOutput]


class Stacked:
    """Heads of one architecture. All parameters of a replica are one row, so that its optimiser has one tensor."""

    padded = True  # all replicas have batches of one size, padded by clips without tokens

    def __init__(self, heads: Sequence[Head], device: torch.device) -> None:
        """Copy the heads to the device; the heads do not change."""
        self.device = device
        self.base = deepcopy(heads[0]).to(device)  # functional calls modify it
        params, buffers = stack_module_state(list(heads))
        # What a head has frozen is not trained.
        constants = buffers | {name: value for name, value in params.items() if not value.requires_grad}
        self.buffers = {name: value.detach().to(device) for name, value in constants.items()}
        transposed = {
            name: _transpose_matrix(value.detach(), value.ndim - 1)
            for name, value in params.items()
            if value.requires_grad
        }
        self.shapes = {name: value.shape[1:] for name, value in transposed.items()}
        # (replicas, numbers)
        self.rows = torch.cat([value.reshape(len(heads), -1) for value in transposed.values()], 1).to(device)
        self.random_modules = {name: it for name, it in self.base.named_modules() if isinstance(it, ReplicaRandom)}
        self.noise: State = {}

    def to_parameters(self, rows: Tensor) -> State:
        """Return rows (..., numbers) as parameters by name, (..., *shape) each."""
        parts = rows.split([shape.numel() for shape in self.shapes.values()], -1)
        return {
            name: _transpose_matrix(part.reshape((*part.shape[:-1], *shape)), len(shape))
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def trained_state(self, row: int) -> State:
        """Return what training has changed in a replica, by name."""
        return self.to_parameters(self.rows[row].detach())

    def count_steps(self, clips: int, size: int) -> int:
        """Return the number of batches of `size` that an epoch over so many clips has."""
        return math.ceil(clips / size)

    def dry_run(self, examples: Examples) -> int:
        """Run one batch (B, …), which sets the shapes of the random numbers; return the number of aligned layers."""
        self.base.train()
        with torch.no_grad():
            output: HeadOutput = self.base(examples.visual, examples.acoustic)
        return len(output.visual_layers)

    def draw_noise(self, generators: Sequence[torch.Generator], clips: int) -> None:
        """Take fresh random numbers for every replica, for the next batch of so many clips."""
        self.noise = {
            f"{name}.noise": module.draw_noise(generators).to(self.device)
            for name, module in self.random_modules.items()
        }

    def map(self, function: Callable[..., Any], *arguments: Any, rows: list[int] | None = None) -> Any:
        """Return `function(head, *arguments)` of all replicas, or those of some rows, along a new first axis.

        Arguments are tensors (replicas, …), or tuples of them. With gradients enabled, `gradients` can follow.
        """
        if torch.is_grad_enabled():
            self.rows.requires_grad_()
        params, buffers = self.to_parameters(self.rows if rows is None else self.rows[rows]), self.buffers
        if rows is not None:
            buffers = {name: value[rows] for name, value in buffers.items()}

        def call(params: State, buffers: State, *arguments: Any) -> Any:
            def head(visual: Tokens, acoustic: Tokens) -> HeadOutput:
                output: HeadOutput = functional_call(self.base, (params, buffers), (visual, acoustic))
                return output

            return function(head, *arguments)

        noise = self.noise if self.base.training else {}
        return vmap(call)(params, buffers | noise, *arguments)

    def gradients(self, loss: Tensor) -> Tensor:
        """Return the gradient of the loss () with regard to the rows (replicas, numbers)."""
        (grads,) = torch.autograd.grad(loss, self.rows)
        self.rows.requires_grad_(False)
        return grads


def _transpose_matrix(value: Tensor, dimensions: int) -> Tensor:
    """Return a parameter as its row stores it, or back: matrices are transposed, as their gradients are."""
    return value.mT if dimensions == 2 else value
