"""The baselines `visual` and `acoustic`: a single modality."""

from typing import Literal

from torch import nn

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.fdan import Encoder, feed_forward, layer_outputs
from pipeline.heads.layers import TokenDropout, masked_moments
from pipeline.store.tokens import Tokens


class SingleHead(Head):
    """A classifier of one modality: encoder, mean over the clip, feed-forward network, linear layer."""

    def __init__(self, config: HeadConfig, shapes: Shapes, *, modality: Literal["visual", "acoustic"]) -> None:
        """Build for the modality's tokens."""
        super().__init__()
        self.modality = modality
        self.encode = Encoder(getattr(shapes, modality), config)
        self.hide = TokenDropout(config.token_dropout)
        self.ffn = feed_forward(config, inputs=2 * config.width)
        self.classify = nn.Linear(config.width, shapes.classes)

    def fit(self, examples: Examples) -> None:
        """Measure mean and standard deviation of the tokens."""
        self.encode.standardise.fit(getattr(examples, self.modality))

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) of one modality."""
        tokens = self.hide(visual if self.modality == "visual" else acoustic)
        features = layer_outputs(self.ffn, masked_moments(self.encode(tokens), tokens.mask))[-1]
        logits = self.classify(features)
        if self.modality == "visual":
            return HeadOutput(logits, None, [], [])
        return HeadOutput(None, logits, [], [])
