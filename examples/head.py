"""A head of one's own: each modality's mean token, weighed by a gate that looks at both.

In params.yaml: `head: {name: "examples.head:GatedHead"}`; or, to compare it with the head that is there,
`fdan ablate --grid head.name=examples.head:GatedHead`.
"""

import torch
from torch import Tensor, nn

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.layers import Dropout, Standardise, masked_mean
from pipeline.store.tokens import Tokens


class GatedHead(Head):
    """Both means into one width, aligned there; one classifier each, and one for their gated sum."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes."""
        super().__init__()
        self.scale_visual, self.scale_acoustic = Standardise(shapes.visual), Standardise(shapes.acoustic)
        self.from_visual, self.from_acoustic = (
            nn.Sequential(nn.Linear(width, config.width), nn.GELU(), Dropout(config.dropout))
            for width in (shapes.visual, shapes.acoustic)
        )
        self.gate = nn.Linear(2 * config.width, 2)
        self.classify = nn.ModuleList(nn.Linear(config.width, shapes.classes) for _ in range(3))

    def fit(self, examples: Examples) -> None:
        """Measure the scale of the tokens, on the training part."""
        self.scale_visual.fit(examples.visual)
        self.scale_acoustic.fit(examples.acoustic)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) of each modality and of both, and one layer (B, width) each."""
        seen = self.from_visual(masked_mean(self.scale_visual(visual.values), visual.mask))
        heard = self.from_acoustic(masked_mean(self.scale_acoustic(acoustic.values), acoustic.mask))
        shares = self._shares(seen, heard, torch.stack([visual.present, acoustic.present], 1))
        both = shares[:, :1] * seen + shares[:, 1:] * heard
        logits = [layer(part) for layer, part in zip(self.classify, (seen, heard, both), strict=True)]
        return HeadOutput(logits[0], logits[1], [seen], [heard], fused=logits[2])

    def _shares(self, seen: Tensor, heard: Tensor, present: Tensor) -> Tensor:
        """Return how much each modality counts (B, 2): what is not there counts nothing, whatever it holds."""
        here = present.to(seen.dtype)
        opened = self.gate(torch.cat([seen * here[:, :1], heard * here[:, 1:]], 1)).sigmoid() * here
        return opened / opened.sum(1, keepdim=True).clamp(min=1e-6)
