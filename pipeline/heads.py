"""What is trained: heads over cached tokens.

A head maps the padded tokens of both modalities, with masks, to `HeadOutput`. A table entry is a builder: called
with the section's configuration and the `Shapes` of the data, it returns the head.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from pipeline.dataset import Tokens
from pipeline.params import Config
from pipeline.registry import check_name


class HeadConfig(Config):
    """The section `head`."""

    name: str = "fdan"
    width: int = Field(128, ge=4)
    attention_heads: int = Field(4, ge=1)
    attention_depth: int = Field(1, ge=0)  # 0: no cross-attention
    ffn_layers: int = Field(2, ge=1)
    dropout: float = Field(0.3, ge=0, lt=1)
    shared_classifier: bool = True

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_name(HEADS, value, "head")

    @model_validator(mode="after")
    def _divisible(self) -> "HeadConfig":
        if self.width % self.attention_heads:
            raise ValueError(
                f"width {self.width} cannot be shared by {self.attention_heads} attention_heads; "
                f"make it a multiple, such as {self.attention_heads * (self.width // self.attention_heads + 1)}"
            )
        return self


class Shapes(NamedTuple):
    """What a head must know of its data: the token widths D of both modalities, and the number of classes."""

    visual: int
    acoustic: int
    classes: int


class HeadOutput(NamedTuple):
    """Logits (B, C) of each modality, and its features (B, width) at each layer that is to be aligned."""

    visual: Tensor
    acoustic: Tensor
    visual_layers: list[Tensor]
    acoustic_layers: list[Tensor]


class Standardise(nn.Module):
    """Fixed shift and scale of every token dimension, measured on the training part."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        """Start as the identity; `fit` measures."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, tokens: Tokens) -> None:
        """Measure on the tokens that are there; a dimension that never varies keeps its scale."""
        values = tokens.values[tokens.mask]  # (tokens, D)
        if len(values):
            std, mean = torch.std_mean(values, dim=0, correction=0)
            self.mean.copy_(mean)
            self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return (values - self.mean) / self.std


class Encoder(nn.Module):
    """Tokens of one modality into the common width, with the time of each added."""

    def __init__(self, width_in: int, config: HeadConfig) -> None:
        """Build for tokens of `width_in` numbers."""
        super().__init__()
        self.standardise = Standardise(width_in)
        self.project = nn.Linear(width_in, config.width)
        self.dropout = nn.Dropout(config.dropout)
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
        self.heads, self.dropout = config.attention_heads, config.dropout
        self.norm_query, self.norm_context = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.nothing = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, own: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
        """(B, T, width), (B, S, width), (B, S) to (B, T, width)."""
        context = torch.cat([self.nothing.expand(len(own), 1, -1), self.norm_context(other)], 1)
        mask = F.pad(other_mask, (1, 0), value=True)[:, None, None]  # (B, 1, 1, S + 1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T or S + 1, width / heads)
            for part in (self.query(self.norm_query(own)), self.key(context), self.value(context))
        )
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        return own + self.out(mixed.transpose(1, 2).flatten(2))


class FdanHead(nn.Module):
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
        self.ffn_visual, self.ffn_acoustic = _ffn(config), _ffn(config)
        self.classify_visual = nn.Linear(width, shapes.classes)
        self.classify_acoustic = self.classify_visual if config.shared_classifier else nn.Linear(width, shapes.classes)

    def fit(self, visual: Tokens, acoustic: Tokens) -> None:
        """Measure the scale of the tokens; only ever called with the training part."""
        self.encode_visual.standardise.fit(visual)
        self.encode_acoustic.standardise.fit(acoustic)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) and layers of (B, width), for each modality."""
        seen, heard = (
            self.encode_visual(visual),
            self.encode_acoustic(acoustic),
        )  # (B, T, width), (B, S, width)
        for to_visual, to_acoustic in zip(self.to_visual, self.to_acoustic, strict=True):
            seen, heard = to_visual(seen, heard, acoustic.mask), to_acoustic(heard, seen, visual.mask)
        visual_layers = _layers(self.ffn_visual, _mean(seen, visual.mask))
        acoustic_layers = _layers(self.ffn_acoustic, _mean(heard, acoustic.mask))
        return HeadOutput(
            self.classify_visual(visual_layers[-1]),
            self.classify_acoustic(acoustic_layers[-1]),
            visual_layers,
            acoustic_layers,
        )


def _ffn(config: HeadConfig) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, config.width),
            nn.GELU(),
            nn.Dropout(config.dropout),
        )
        for _ in range(config.ffn_layers)
    )


def _layers(ffn: nn.ModuleList, features: Tensor) -> list[Tensor]:
    outputs = []
    for layer in ffn:
        features = layer(features)
        outputs.append(features)
    return outputs


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the tokens that are there: (B, T, width), (B, T) to (B, width)."""
    weights = mask[..., None].to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)


HEADS: dict[str, Callable[[HeadConfig, Shapes], FdanHead]] = {"fdan": FdanHead}


def fuse(visual: Tensor, acoustic: Tensor, visual_present: Tensor, acoustic_present: Tensor) -> Tensor:
    """Return fused log-probabilities (B, C): the mean of those of the modalities that a clip has, normalised."""
    weights = torch.stack([visual_present, acoustic_present]).to(visual.dtype)[..., None]  # (2, B, 1)
    parts = torch.stack([visual.log_softmax(-1), acoustic.log_softmax(-1)])
    mean: Tensor = (parts * weights).sum(0) / weights.sum(0).clamp(min=1)
    return mean.log_softmax(-1)
