"""The head of this project: cross-attention within the clip, aligned layers, one path for training and prediction."""

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.dataset import Examples, Tokens
from pipeline.heads.contract import Dropout, Head, HeadConfig, HeadOutput, Shapes, Standardise, fuse, masked_mean


class Encoder(nn.Module):
    """Tokens of one modality into the common width, with the time of each added."""

    def __init__(self, width_in: int, config: HeadConfig) -> None:
        """Build for tokens of `width_in` numbers."""
        super().__init__()
        self.standardise = Standardise(width_in)
        self.project = nn.Linear(width_in, config.width)
        self.dropout = Dropout(config.dropout)
        self.register_buffer("rates", 2 * torch.pi * 2.0 ** torch.arange(-2, 4), persistent=False)  # 1/4 to 8 Hz
        self.time = nn.Linear(2 * 6, config.width)

    def forward(self, tokens: Tokens) -> Tensor:
        """(B, T, D) to (B, T, width)."""
        angles = tokens.times[..., None] * self.get_buffer("rates")
        clock = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        return self.dropout(self.project(self.standardise(tokens.values)) + clock)


class CrossAttention(nn.Module):
    """The queries of one modality attend to the keys and values of the other, within a clip.

    One learned key is always there to attend to: a clip that lacks the other modality has that one only.
    """

    def __init__(self, config: HeadConfig) -> None:
        """Build one direction of one block."""
        super().__init__()
        width = config.width
        self.heads, self.dropout = config.attention_heads, Dropout(config.dropout)
        self.norm_query, self.norm_context = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.nothing = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, own: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
        """(B, T, width), (B, S, width), (B, S) to (B, T, width)."""
        shares, value = self.attend(own, other, other_mask)
        return own + self.dropout(self.out((shares @ value).transpose(1, 2).flatten(2)))

    def attend(self, own: Tensor, other: Tensor, other_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return how much each token attends to what, (B, heads, T, 1 + S), and what that is (B, heads, 1 + S, ·)."""
        context = torch.cat([self.nothing.expand(len(own), 1, -1), self.norm_context(other)], 1)
        mask = F.pad(other_mask, (1, 0), value=True)[:, None, None]  # (B, 1, 1, 1 + S)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T or 1 + S, width / heads)
            for part in (self.query(self.norm_query(own)), *self.key_value(context).chunk(2, -1))
        )
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        return scores.masked_fill(~mask, -torch.inf).softmax(-1), value


class FdanHead(Head):
    """Cross-attention in both directions, a feed-forward network whose layers are aligned, a classifier.

    The same path serves training and prediction. Li et al., arXiv 2410.22023; there the backbone is trained too.
    """

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes."""
        super().__init__()
        width = config.width
        self.encode_visual, self.encode_acoustic = (
            Encoder(shapes.visual, config),
            Encoder(shapes.acoustic, config),
        )
        self.to_visual = nn.ModuleList(CrossAttention(config) for _ in range(config.attention_depth))
        self.to_acoustic = nn.ModuleList(CrossAttention(config) for _ in range(config.attention_depth))
        self.ffn_visual, self.ffn_acoustic = feed_forward(config), feed_forward(config)
        self.classify_visual = nn.Linear(width, shapes.classes)
        self.classify_acoustic = self.classify_visual if config.shared_classifier else nn.Linear(width, shapes.classes)
        self.balance = nn.Parameter(torch.zeros(2)) if config.fusion == "learned" else None  # visual, acoustic

    def fit(self, examples: Examples) -> None:
        """Measure the scale of the tokens."""
        self.encode_visual.standardise.fit(examples.visual)
        self.encode_acoustic.standardise.fit(examples.acoustic)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) and layers of (B, width), for each modality."""
        seen, heard = self.encode_visual(visual), self.encode_acoustic(acoustic)  # (B, T, width), (B, S, width)
        for to_visual, to_acoustic in self._blocks():
            seen, heard = to_visual(seen, heard, acoustic.mask), to_acoustic(heard, seen, visual.mask)
        visual_layers = layer_outputs(self.ffn_visual, masked_mean(seen, visual.mask))
        acoustic_layers = layer_outputs(self.ffn_acoustic, masked_mean(heard, acoustic.mask))
        logits = {
            "visual": self.classify_visual(visual_layers[-1]),
            "acoustic": self.classify_acoustic(acoustic_layers[-1]),
        }
        present = {"visual": visual.present, "acoustic": acoustic.present}
        fused = None if self.balance is None else fuse(logits, present, self.balance)
        return HeadOutput(**logits, visual_layers=visual_layers, acoustic_layers=acoustic_layers, fused=fused)

    def _blocks(self) -> Iterator[tuple[CrossAttention, CrossAttention]]:
        for pair in zip(self.to_visual, self.to_acoustic, strict=True):
            yield cast(tuple[CrossAttention, CrossAttention], pair)

    @torch.inference_mode()
    def attention(self, visual: Tokens, acoustic: Tokens) -> dict[str, Tensor]:
        """Return how much tokens attend to the other modality's: `visual` (B, T, 1 + S), `acoustic` (B, S, 1 + T).

        It is that of the last block, the mean over its heads; the first column is the learned key that is always there.
        Without cross-attention there is none.
        """
        seen, heard = self.encode_visual(visual), self.encode_acoustic(acoustic)
        found: dict[str, Tensor] = {}
        for to_visual, to_acoustic in self._blocks():
            found = {
                "visual": to_visual.attend(seen, heard, acoustic.mask)[0].mean(1),
                "acoustic": to_acoustic.attend(heard, seen, visual.mask)[0].mean(1),
            }
            seen, heard = to_visual(seen, heard, acoustic.mask), to_acoustic(heard, seen, visual.mask)
        return found


def feed_forward(config: HeadConfig) -> nn.ModuleList:
    """Return the layers, each (B, width) to (B, width)."""
    return nn.ModuleList(
        nn.Sequential(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, config.width),
            nn.GELU(),
            Dropout(config.dropout),
        )
        for _ in range(config.ffn_layers)
    )


def layer_outputs(ffn: nn.ModuleList, features: Tensor) -> list[Tensor]:
    """Return what every layer gives, from the first to the last."""
    outputs = []
    for layer in ffn:
        features = layer(features)
        outputs.append(features)
    return outputs
