"""A head that takes each modality's mean token and weights the two with a gate that sees both.

In params.yaml: `head: {name: "gated:GatedHead"}`. To compare it with the default head:
`fdan ablate --grid head.name=gated:GatedHead`.
"""

import torch
from torch import Tensor, nn

from fdan import Dropout, Examples, Head, HeadConfig, HeadOutput, Shapes, Standardise, Tokens, masked_mean


class GatedHead(Head):
    """Project both means to one width and align them; classify each of them and their gated sum."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build the layers for tokens and classes of these shapes."""
        super().__init__()
        self.scale_visual, self.scale_acoustic = Standardise(shapes.visual), Standardise(shapes.acoustic)
        self.from_visual, self.from_acoustic = (
            nn.Sequential(nn.Linear(width, config.width), nn.GELU(), Dropout(config.dropout))
            for width in (shapes.visual, shapes.acoustic)
        )
        self.gate = nn.Linear(2 * config.width, 2)
        self.classify = nn.ModuleList(nn.Linear(config.width, shapes.classes) for _ in range(3))

    def fit(self, examples: Examples) -> None:
        """Measure the scale of the training part's tokens."""
        self.scale_visual.fit(examples.visual)
        self.scale_acoustic.fit(examples.acoustic)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Turn tokens of B clips into logits (B, C) of each modality and of both, and one layer (B, width) of each."""
        face = self.from_visual(masked_mean(self.scale_visual(visual.values), visual.mask))
        voice = self.from_acoustic(masked_mean(self.scale_acoustic(acoustic.values), acoustic.mask))
        weights = self._weights(face, voice, torch.stack([visual.present, acoustic.present], 1))
        both = weights[:, :1] * face + weights[:, 1:] * voice
        logits = [layer(features) for layer, features in zip(self.classify, (face, voice, both), strict=True)]
        return HeadOutput(logits[0], logits[1], [face], [voice], fused=logits[2])

    def _weights(self, face: Tensor, voice: Tensor, present: Tensor) -> Tensor:
        """Return the weight of each modality (B, 2); the weight of a missing one is 0."""
        mask = present.to(face.dtype)
        gates = self.gate(torch.cat([face * mask[:, :1], voice * mask[:, 1:]], 1)).sigmoid() * mask
        return gates / gates.sum(1, keepdim=True).clamp(min=1e-6)
