"""What a new head has to beat: one modality, late fusion, a linear classifier, the most frequent class."""

import torch
from torch import Tensor, nn

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.fdan import feed_forward, layer_outputs
from pipeline.heads.layers import Dropout, Standardise, masked_mean
from pipeline.store.tokens import Tokens


class Concat(Head):
    """Late fusion: the means of both modalities' tokens side by side into a feed-forward network.

    Alone, a modality stands beside zeros, which the standardised mean of all clips is; trained so, too.
    """

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes."""
        super().__init__()
        self.scale_visual, self.scale_acoustic = Standardise(shapes.visual), Standardise(shapes.acoustic)
        self.project = nn.Sequential(
            nn.Linear(shapes.visual + shapes.acoustic, config.width), nn.GELU(), Dropout(config.dropout)
        )
        self.ffn = feed_forward(config)
        self.classify = nn.Linear(config.width, shapes.classes)

    def fit(self, examples: Examples) -> None:
        """Measure the scale of the tokens."""
        self.scale_visual.fit(examples.visual)
        self.scale_acoustic.fit(examples.acoustic)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) of each modality and of both."""
        seen = masked_mean(self.scale_visual(visual.values), visual.mask)  # 0 where there is none
        heard = masked_mean(self.scale_acoustic(acoustic.values), acoustic.mask)
        parts = ((seen, 0 * heard), (0 * seen, heard), (seen, heard))
        alone, other, both = (self._logits(torch.cat(part, 1)) for part in parts)
        return HeadOutput(alone, other, [], [], fused=both)

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classify(layer_outputs(self.ffn, self.project(features))[-1])
        return logits
