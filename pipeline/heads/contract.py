"""What every head is built from and gives."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from pipeline.dataset import Examples, Tokens
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
    fusion: Literal["mean", "learned"] = "mean"  # of both modalities' log-probabilities

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        from pipeline.heads import HEADS  # here, because each of them is made from this configuration

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
    """Logits (B, C) of each modality that the head knows, and its features (B, width) at each layer to be aligned.

    A head that decides by itself how to combine them gives the logits `fused`, too.
    """

    visual: Tensor | None
    acoustic: Tensor | None
    visual_layers: list[Tensor]
    acoustic_layers: list[Tensor]
    fused: Tensor | None = None


class Head(nn.Module):
    """A function of both modalities' padded tokens, with masks, to `HeadOutput`."""

    def fit(self, examples: Examples) -> None:
        """Measure what is not learned by gradient; only ever called with the training part."""


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
            self.mean.copy_(values.mean(0))
            std = values.sub_(self.mean).square_().mean(0).sqrt()  # several times faster than torch.std
            self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return (values - self.mean).div_(self.std)


class Drawn(nn.Module):
    """A module that needs random numbers, and is given them: replicas that train together draw each for itself.

    Until it is given any, it does nothing.
    """

    drawn: Tensor

    def __init__(self) -> None:
        """Be given nothing yet."""
        super().__init__()
        self.register_buffer("drawn", torch.ones(()), persistent=False)
        self.shape: torch.Size | None = None  # of what it met last in training

    def draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the numbers for one step of as many replicas, for input of the shape that it met last."""
        raise NotImplementedError


class Dropout(Drawn):
    """Set a share of all numbers to 0, in training."""

    def __init__(self, share: float) -> None:
        """Remember the share."""
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Any shape to the same."""
        if not self.training:
            return values
        self.shape = values.shape
        return values * self.drawn

    def draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return what to multiply with: 0, or what makes up for the zeros."""
        shape = self.shape or torch.Size()
        # 16 random bits for each, four from one number: several times faster than a float for each.
        fours = torch.empty(len(generators), shape.numel() // 4 + 1, dtype=torch.int64)
        for row, generator in zip(fours, generators, strict=True):
            row.random_(-(2**63), None, generator=generator)
        bits = fours.view(torch.int16)[:, : shape.numel()].unflatten(1, shape)
        kept = torch.ge(bits, round(self.share * 2**16) - 2**15, out=torch.empty(bits.shape))
        return kept.mul_(1 / (1 - self.share))


def mean(tokens: Tokens) -> Tensor:
    """Return the mean over the tokens that are there, 0 where there are none: (B, D)."""
    return masked_mean(tokens.values, tokens.mask)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over what the mask (B, T) leaves of (B, T, D): (B, D)."""
    weights = mask.to(values.dtype)
    shares = weights / weights.sum(1, keepdim=True).clamp(min=1)
    return (shares[:, None] @ values)[:, 0]


def fuse(logits: Mapping[str, Tensor], present: Mapping[str, Tensor], balance: Tensor | None = None) -> Tensor:
    """Return fused log-probabilities (B, C): the mean of those (B, C) of the modalities that a clip has (B,).

    `balance` (modalities,) weighs them, by its softmax.
    """
    weights = torch.stack([present[name] for name in logits]).to(torch.float32)[..., None]  # (modalities, B, 1)
    if balance is not None:
        weights = weights * balance.softmax(0)[:, None, None]
    parts = torch.stack([values.log_softmax(-1) for values in logits.values()])
    total = weights.sum(0)
    mean: Tensor = (parts * weights).sum(0) / torch.where(total > 0, total, 1)
    return mean.log_softmax(-1)
