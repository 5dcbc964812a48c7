"""The head `fdan`: cross-attention within each clip, and a feed-forward network whose layers are aligned."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.layers import Dropout, Standardise, TokenDropout, fuse, masked_moments
from pipeline.store.tokens import Tokens

Pair = tuple[Tensor, Tensor]  # visual, acoustic


class Encoder(nn.Module):
    """Projects the tokens of one modality to the common width and adds an encoding of their times."""

    def __init__(self, width_in: int, config: HeadConfig) -> None:
        """Build for tokens of width `width_in`."""
        super().__init__()
        self.standardise = Standardise(width_in)
        self.project = nn.Linear(width_in, config.width)
        rates = torch.tensor([2 * torch.pi * 2.0**power for power in range(-2, 4)])  # 1/4 to 8 Hz
        self.register_buffer("rates", rates, persistent=False)
        self.time = nn.Linear(2 * 6, config.width, bias=False)

    def forward(self, tokens: Tokens) -> Tensor:
        """(B, T, D) to (B, T, width)."""
        angles = tokens.times[..., None] * self.get_buffer("rates")
        clock = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        weight, bias = self.standardise.fold(self.project)
        return functional.gelu(functional.linear(tokens.values, weight, bias) + clock)


class CrossAttention(nn.Module):
    """One modality's half of a cross-attention block: queries for the other modality, keys and values for it.

    The layer norm has no scale, which the following projection can learn, and no layer has a bias: each would cost
    one more pass over all tokens. Tokens also attend to a sink with a learned score and a value of zero. In a clip
    without the other modality they attend to the sink alone.
    """

    def __init__(self, config: HeadConfig) -> None:
        """Build one half of one block."""
        super().__init__()
        width = config.width
        self.heads, self.dropout = config.attention_heads, Dropout(config.dropout)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.sink = nn.Parameter(torch.zeros(config.attention_heads))
        self.out = nn.Linear(width, width, bias=False)

    def project(self, tokens: Tensor) -> list[Tensor]:
        """(B, T, width) to queries, keys and values, each (B, heads, T, width / heads)."""
        parts = self.query_key_value(self.norm(tokens)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return [part.transpose(1, 2).contiguous() for part in parts]

    def attention_weights(self, query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        """Return the weights of the sink and of the other's tokens (B, S) for each token: (B, heads, 1 + S, T)."""
        scores = key @ query.transpose(-2, -1) / query.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask[:, None, :, None], -torch.inf)
        return torch.cat([self.sink[:, None, None].expand_as(scores[..., :1, :]), scores], -2).softmax(-2)

    def forward(self, tokens: Tensor, weights: Tensor, value: Tensor) -> Tensor:
        """(B, T, width), (B, heads, 1 + S, T), (B, heads, S, width / heads) to (B, T, width)."""
        attended = weights[..., 1:, :].transpose(-2, -1) @ value
        return tokens + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))


class FdanHead(Head):
    """Cross-attention in both directions, a feed-forward network whose layers are aligned, a classifier.

    Training and prediction compute the same. Li et al., arXiv 2410.22023; they train the backbone, too.
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
        self.hide_visual, self.hide_acoustic = TokenDropout(config.token_dropout), TokenDropout(config.token_dropout)
        self.ffn_visual, self.ffn_acoustic = (feed_forward(config, inputs=2 * width) for _ in range(2))
        self.classify_visual = nn.Linear(width, shapes.classes)
        self.classify_acoustic = self.classify_visual if config.shared_classifier else nn.Linear(width, shapes.classes)
        self.balance = nn.Parameter(torch.zeros(2)) if config.fusion == "learned" else None  # visual, acoustic

    def fit(self, examples: Examples) -> None:
        """Measure mean and standard deviation of the tokens."""
        self.encode_visual.standardise.fit(examples.visual)
        self.encode_acoustic.standardise.fit(examples.acoustic)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) and layers of (B, width), for each modality."""
        visual, acoustic = self.hide_visual(visual), self.hide_acoustic(acoustic)
        masks = visual.mask, acoustic.mask
        encoded = self.encode_visual(visual), self.encode_acoustic(acoustic)
        attended, _ = self._attend(encoded, masks)
        visual_layers, acoustic_layers = self._layers(attended, masks)
        logits = {
            "visual": self.classify_visual(visual_layers[-1]),
            "acoustic": self.classify_acoustic(acoustic_layers[-1]),
        }
        if self.training and len(self.to_visual):  # without attention, these would be the same logits again
            video_layers, audio_layers = self._layers(encoded, masks)
            logits["video_only"] = self.classify_visual(video_layers[-1])
            logits["audio_only"] = self.classify_acoustic(audio_layers[-1])
        if self.balance is not None:
            present = {"visual": visual.present, "acoustic": acoustic.present}
            logits["fused"] = fuse({name: logits[name] for name in present}, present, self.balance)
        return HeadOutput(**logits, visual_layers=visual_layers, acoustic_layers=acoustic_layers)

    def _layers(self, tokens: Pair, masks: Pair) -> tuple[list[Tensor], list[Tensor]]:
        """Return the outputs (B, width) of all feed-forward layers, for tokens (B, T, width) and (B, S, width)."""
        visual, acoustic = (masked_moments(*them) for them in zip(tokens, masks, strict=True))
        return layer_outputs(self.ffn_visual, visual), layer_outputs(self.ffn_acoustic, acoustic)

    def _attend(self, tokens: Pair, masks: Pair) -> tuple[Pair, dict[str, Tensor]]:
        """Return both modalities' tokens after all blocks, (B, T, width) and (B, S, width), and the last weights."""
        visual_tokens, acoustic_tokens = tokens
        visual_mask, acoustic_mask = masks
        weights: dict[str, Tensor] = {}
        for pair in zip(self.to_visual, self.to_acoustic, strict=True):
            to_visual, to_acoustic = cast(tuple[CrossAttention, CrossAttention], pair)
            visual_query, visual_key, visual_value = to_visual.project(visual_tokens)
            acoustic_query, acoustic_key, acoustic_value = to_acoustic.project(acoustic_tokens)
            weights = {
                "visual": to_visual.attention_weights(visual_query, acoustic_key, acoustic_mask),
                "acoustic": to_acoustic.attention_weights(acoustic_query, visual_key, visual_mask),
            }
            visual_tokens = to_visual(visual_tokens, weights["visual"], acoustic_value)
            acoustic_tokens = to_acoustic(acoustic_tokens, weights["acoustic"], visual_value)
        return (visual_tokens, acoustic_tokens), weights

    @torch.inference_mode()
    def attention(self, visual: Tokens, acoustic: Tokens) -> dict[str, Tensor]:
        """Return the weights of the other modality's tokens: `visual` (B, T, 1 + S), `acoustic` (B, S, 1 + T).

        They are the mean over the heads of the last block. The first column is the sink. A head without
        cross-attention returns an empty dict.
        """
        encoded = self.encode_visual(visual), self.encode_acoustic(acoustic)
        _, last = self._attend(encoded, (visual.mask, acoustic.mask))
        return {name: weights.mean(1).mT for name, weights in last.items()}


def feed_forward(config: HeadConfig, *, inputs: int) -> nn.ModuleList:
    """Return the layers of a feed-forward network: the first takes (B, inputs), and each returns (B, width)."""
    return nn.ModuleList(
        nn.Sequential(
            nn.LayerNorm(width, elementwise_affine=False),
            nn.Linear(width, config.width),
            nn.GELU(),
            Dropout(config.dropout),
        )
        for width in [inputs, *[config.width] * (config.ffn_layers - 1)]
    )


def layer_outputs(ffn: nn.ModuleList, features: Tensor) -> list[Tensor]:
    """Return the output (B, width) of every layer, from the first to the last."""
    outputs = []
    for layer in ffn:
        features = layer(features)
        outputs.append(features)
    return outputs
