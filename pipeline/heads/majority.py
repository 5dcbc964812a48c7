"""The baseline `majority`: the most frequent class."""

import torch
from torch import Tensor

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens


class MajorityHead(Head):
    """The class frequencies of the training part, for any clip."""

    frequencies: Tensor

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Start with equal frequencies; `fit` counts."""
        super().__init__()
        self.register_buffer("frequencies", torch.ones(shapes.classes))

    def fit(self, examples: Examples) -> None:
        """Count the classes."""
        self.frequencies.copy_(torch.bincount(examples.labels, minlength=len(self.frequencies)))

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """B clips to logits (B, C), the same for all."""
        logits = (self.frequencies / self.frequencies.sum()).log().expand(len(visual.values), -1)
        return HeadOutput(logits, logits, [], [], fused=logits)
