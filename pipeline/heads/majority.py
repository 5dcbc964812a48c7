"""What a new head has to beat: one modality, late fusion, a linear classifier, the most frequent class."""

import torch
from torch import Tensor

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens


class Majority(Head):
    """Always the most frequent class of the training part, whatever the clip."""

    frequencies: Tensor

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Know nothing yet."""
        super().__init__()
        self.register_buffer("frequencies", torch.ones(shapes.classes))

    def fit(self, examples: Examples) -> None:
        """Count the classes."""
        self.frequencies.copy_(torch.bincount(examples.labels, minlength=len(self.frequencies)))

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Any B clips to logits (B, C), alike for all."""
        logits = (self.frequencies / self.frequencies.sum()).log().expand(len(visual.values), -1)
        return HeadOutput(logits, logits, [], [], fused=logits)
