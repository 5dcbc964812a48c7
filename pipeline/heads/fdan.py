"""The head of this project: cross-attention within the clip, aligned layers, one path for training and prediction."""

from typing import cast

import torch
from torch import Tensor, nn

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.layers import Dropout, Standardise, fuse, masked_mean
from pipeline.store.tokens import Tokens


class Encoder(nn.Module):
    """Tokens of one modality into the common width, with the time of each added."""

    def __init__(self, width_in: int, config: HeadConfig) -> None:
        """Build for tokens of `width_in` numbers."""
        super().__init__()
        self.standardise = Standardise(width_in)
        self.project = nn.Linear(width_in, config.width)
        self.dropout = Dropout(config.dropout)
        self.register_buffer("rates", 2 * torch.pi * 2.0 ** torch.arange(-2, 4), persistent=False)  # 1/4 to 8 Hz
        self.time = nn.Linear(2 * 6, config.width, bias=False)

    def forward(self, tokens: Tokens) -> Tensor:
        """(B, T, D) to (B, T, width)."""
        angles = tokens.times[..., None] * self.get_buffer("rates")
        clock = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        return self.dropout(self.project(self.standardise(tokens.values)) + clock)


class CrossAttention(nn.Module):
    """One modality's side of a block: what its tokens ask and answer, and what they take from the other's.

    The norm has no scale, which the product after it can take over, and no layer a bias: each would be one more pass
    over all tokens. Beside the other modality's tokens there is always a sink, of a learned score and no value: a clip
    without the other modality has that one only.
    """

    def __init__(self, config: HeadConfig) -> None:
        """Build one side of one block."""
        super().__init__()
        width = config.width
        self.heads, self.dropout = config.attention_heads, Dropout(config.dropout)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.sink = nn.Parameter(torch.zeros(config.attention_heads))
        self.out = nn.Linear(width, width, bias=False)

    def parts(self, own: Tensor) -> list[Tensor]:
        """(B, T, width) to queries, keys and values, each (B, heads, T, width / heads)."""
        parts = self.query_key_value(self.norm(own)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return [part.transpose(1, 2).contiguous() for part in parts]

    def shares(self, query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        """Return how much the sink and the other's tokens (B, S) count for each token: (B, heads, 1 + S, T)."""
        scores = key @ query.transpose(-2, -1) / query.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask[:, None, :, None], -torch.inf)
        return torch.cat([self.sink[:, None, None].expand_as(scores[..., :1, :]), scores], -2).softmax(-2)

    def forward(self, own: Tensor, shares: Tensor, value: Tensor) -> Tensor:
        """(B, T, width), (B, heads, 1 + S, T), (B, heads, S, width / heads) to (B, T, width)."""
        taken = shares[..., 1:, :].transpose(-2, -1) @ value
        return own + self.dropout(self.out(taken.transpose(1, 2).flatten(2)))


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
        seen, heard, _ = self._attended(visual, acoustic)
        visual_layers = layer_outputs(self.ffn_visual, masked_mean(seen, visual.mask))
        acoustic_layers = layer_outputs(self.ffn_acoustic, masked_mean(heard, acoustic.mask))
        logits = {
            "visual": self.classify_visual(visual_layers[-1]),
            "acoustic": self.classify_acoustic(acoustic_layers[-1]),
        }
        present = {"visual": visual.present, "acoustic": acoustic.present}
        fused = None if self.balance is None else fuse(logits, present, self.balance)
        return HeadOutput(**logits, visual_layers=visual_layers, acoustic_layers=acoustic_layers, fused=fused)

    def _attended(self, visual: Tokens, acoustic: Tokens) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return both modalities' tokens after all blocks, (B, T, width) and (B, S, width), and the last shares."""
        seen, heard = self.encode_visual(visual), self.encode_acoustic(acoustic)
        shares: dict[str, Tensor] = {}
        for pair in zip(self.to_visual, self.to_acoustic, strict=True):
            to_visual, to_acoustic = cast(tuple[CrossAttention, CrossAttention], pair)
            seen_query, seen_key, seen_value = to_visual.parts(seen)
            heard_query, heard_key, heard_value = to_acoustic.parts(heard)
            shares = {
                "visual": to_visual.shares(seen_query, heard_key, acoustic.mask),
                "acoustic": to_acoustic.shares(heard_query, seen_key, visual.mask),
            }
            seen = to_visual(seen, shares["visual"], heard_value)
            heard = to_acoustic(heard, shares["acoustic"], seen_value)
        return seen, heard, shares

    @torch.inference_mode()
    def attention(self, visual: Tokens, acoustic: Tokens) -> dict[str, Tensor]:
        """Return how much tokens attend to the other modality's: `visual` (B, T, 1 + S), `acoustic` (B, S, 1 + T).

        It is that of the last block, the mean over its heads; the first column is the sink that is always there.
        Without cross-attention there is none.
        """
        return {name: shares.mean(1).mT for name, shares in self._attended(visual, acoustic)[2].items()}


def feed_forward(config: HeadConfig) -> nn.ModuleList:
    """Return the layers, each (B, width) to (B, width)."""
    return nn.ModuleList(
        nn.Sequential(
            nn.LayerNorm(config.width, elementwise_affine=False),
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
