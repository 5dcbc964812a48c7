"""AdamW for the parameters of one replica."""

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class RowOptimiser:
    """AdamW for one row (numbers,), as `torch.optim.AdamW` is, which loads torch's compiler for a second."""

    def __init__(self, row: Tensor, *, weight_decay: float) -> None:
        """Take a row, whose numbers `step` changes in place."""
        self.row, self.weight_decay = row.detach(), weight_decay
        self.mean, self.square = torch.zeros_like(self.row), torch.zeros_like(self.row)  # of gradients
        self.steps = torch.zeros((), device=row.device)

    def step(self, gradient: Tensor, *, rate: float) -> None:
        """Change the row by its gradient (numbers,) at a learning rate."""
        adamw(
            [self.row],
            [gradient],
            [self.mean],
            [self.square],
            [],
            [self.steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )
