"""The baseline `concat`: late fusion of both modalities' mean tokens."""

import torch
from torch import Tensor, nn

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.fdan import feed_forward, layer_outputs
from pipeline.heads.layers import Dropout, Standardise, masked_mean
from pipeline.store.tokens import Tokens


class ConcatHead(Head):
    """Late fusion: the concatenated means of both modalities' tokens into a feed-forward network.

    The classifier of a single modality gets zeros, the standardised mean of all clips, for the other one. It is
    trained this way, too.
    """

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes."""
        super().__init__()
        self.scale_visual, self.scale_acoustic = Standardise(shapes.visual), Standardise(shapes.acoustic)
        self.project = nn.Sequential(
            nn.Linear(shapes.visual + shapes.acoustic, config.width), nn.GELU(), Dropout(config.dropout)
        )
        self.ffn = feed_forward(config, inputs=config.width)
        self.classify = nn.Linear(config.width, shapes.classes)

    def fit(self, examples: Examples) -> None:
        """Measure mean and standard deviation of the tokens."""
        self.scale_visual.fit(examples.visual)
        self.scale_acoustic.fit(examples.acoustic)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) of each modality and of both."""
        visual_mean = masked_mean(self.scale_visual(visual.values), visual.mask)  # 0 for a clip without tokens
        acoustic_mean = masked_mean(self.scale_acoustic(acoustic.values), acoustic.mask)
        inputs = (
            (visual_mean, 0 * acoustic_mean),
            (0 * visual_mean, acoustic_mean),
            (visual_mean, acoustic_mean),
        )
        visual_logits, acoustic_logits, fused = (self._logits(torch.cat(pair, 1)) for pair in inputs)
        return HeadOutput(visual_logits, acoustic_logits, [], [], fused=fused)

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classify(layer_outputs(self.ffn, self.project(features))[-1])
        return logits
