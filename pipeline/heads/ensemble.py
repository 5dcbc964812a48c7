"""Several heads that answer as one."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.heads.contract import Head, HeadOutput
from pipeline.store.tokens import Tokens


class Ensemble(Head):
    """Heads of one architecture, whose log-probabilities are averaged, of each modality and of both."""

    def __init__(self, members: Sequence[Head]) -> None:
        """Take the members as they are."""
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to log-probabilities (B, C); a layer's features are the members', side by side."""
        outputs = [cast(HeadOutput, member(visual, acoustic)) for member in self.members]
        visual_layers, acoustic_layers = (
            [torch.cat(layers, 1) for layers in zip(*them, strict=True)]
            for them in ([it.visual_layers for it in outputs], [it.acoustic_layers for it in outputs])
        )
        return HeadOutput(
            _mean([it.visual for it in outputs]),
            _mean([it.acoustic for it in outputs]),
            visual_layers,
            acoustic_layers,
            fused=_mean([it.fused for it in outputs]),
        )

    def attention(self, visual: Tokens, acoustic: Tokens) -> dict[str, Tensor]:
        """Return the mean of the members' attention."""
        weights = [cast(Head, member).attention(visual, acoustic) for member in self.members]
        return {name: torch.stack([it[name] for it in weights]).mean(0) for name in weights[0]}


def as_one_head(members: Sequence[Head]) -> Head:
    """Return an ensemble, or the member itself if there is only one."""
    return members[0] if len(members) == 1 else Ensemble(members)


def _mean(logits: Sequence[Tensor | None]) -> Tensor | None:
    """Return the mean log-probabilities (B, C); None if no member gives logits."""
    given = [it.log_softmax(-1) for it in logits if it is not None]
    return torch.stack(given).mean(0) if given else None
