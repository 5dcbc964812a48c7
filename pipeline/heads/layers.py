"""Layers that heads share: standardisation, dropout for replicas, masked means, fusion."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.store.tokens import Tokens, TokenSource, chunk_indices

VARIANCE_FLOOR = 1e-4  # of a feature over the tokens of a clip, for features of the order of 1


class Standardise(nn.Module):
    """Fixed shift and scale of every token dimension, measured on the training part."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        """Start as the identity; `fit` measures."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, tokens: TokenSource) -> None:
        """Measure on the unmasked tokens, chunk by chunk; a dimension without variance keeps its scale."""
        count = 0
        mean, squares = (torch.zeros(tokens.width, dtype=torch.float64) for _ in range(2))
        for index in chunk_indices(tokens):
            chunk = tokens.batches(index)
            values = chunk.values[chunk.mask]  # (tokens, D)
            if not len(values):
                continue
            chunk_mean = values.mean(0)
            delta, share = chunk_mean - mean, len(values) / (count + len(values))
            # Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance".
            squares += values.sub_(chunk_mean).square_().sum(0) + delta.square() * (count * share)
            mean += delta * share
            count += len(values)
        if count:
            self.mean.copy_(mean)
            std = (squares / count).float().sqrt()
            self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return (values - self.mean).div_(self.std)

    def fold(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        """Return weight and bias of a layer for raw tokens that does as `layer` on standardised ones.

        It spares passes over all tokens, which are wider than what follows.
        """
        weight = layer.weight / self.std
        return weight, layer.bias - weight @ self.mean


class ReplicaRandom(nn.Module):
    """A module whose random numbers come from outside, from one generator per replica.

    Without random numbers it is the identity.
    """

    noise: Tensor

    def __init__(self) -> None:
        """Start without random numbers."""
        super().__init__()
        self.register_buffer("noise", torch.ones(()), persistent=False)
        self.shape: torch.Size | None = None  # of the last input in training

    def draw_noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the random numbers of one step for each replica, for input of the last shape."""
        raise NotImplementedError


class Dropout(ReplicaRandom):
    """Dropout with the probability `share`, in training."""

    def __init__(self, share: float) -> None:
        """Store the probability."""
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Any shape to the same."""
        if not self.training:
            return values
        self.shape = values.shape
        return values * self.noise

    def draw_noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the factors of the input: 0, or 1 / (1 - share)."""
        shape = self.shape or torch.Size()
        # 16 random bits for each factor, four factors from one number: several times faster than a float for each.
        numbers = torch.empty(len(generators), shape.numel() // 4 + 1, dtype=torch.int64)
        for row, generator in zip(numbers, generators, strict=True):
            row.random_(-(2**63), None, generator=generator)
        bits = numbers.view(torch.int16)[:, : shape.numel()].unflatten(1, shape)
        kept = torch.ge(bits, round(self.share * 2**16) - 2**15, out=torch.empty(bits.shape))
        return kept.mul_(1 / (1 - self.share))


class TokenDropout(ReplicaRandom):
    """Hides each token of a clip with the probability `share`, in training; one that stays is always left.

    Every epoch so classifies another part of a clip, which makes means and standard deviations of few tokens vary as
    those of new recordings do.
    """

    def __init__(self, share: float) -> None:
        """Store the probability."""
        super().__init__()
        self.share = share

    def forward(self, tokens: Tokens) -> Tokens:
        """Return tokens (B, T, D) with a mask that hides some of them."""
        if not self.training:
            return tokens
        self.shape = tokens.mask.shape
        scores = torch.where(tokens.mask, self.noise.expand_as(tokens.mask), -1.0)
        # The token with the highest score stays, whatever the score.
        kept = (scores >= scores.amax(1, keepdim=True).clamp(max=self.share)) & tokens.mask
        return Tokens(tokens.values, tokens.times, kept)

    def draw_noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return a score from 0 to 1 for each token (replicas, B, T)."""
        return torch.stack([torch.rand(self.shape or (), generator=generator) for generator in generators])


def mean_token(tokens: TokenSource) -> Tensor:
    """Return the mean over the unmasked tokens, 0 for a clip without any: (B, D)."""
    return masked_mean(tokens.values, tokens.mask)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of (B, T, D) over the positions where the mask (B, T) is True: (B, D)."""
    weights = mask.to(values.dtype)
    shares = weights / weights.sum(1, keepdim=True).clamp(min=1)
    return (shares[:, None] @ values)[:, 0]


def masked_moments(values: Tensor, mask: Tensor) -> Tensor:
    """Return mean and standard deviation of (B, T, D) over the positions where the mask (B, T) is True: (B, 2D)."""
    mean = masked_mean(values, mask)
    variance = masked_mean(values.square(), mask) - mean.square()
    # The square root of 0 has no gradient, and a difference of squares may be slightly negative.
    return torch.cat([mean, (variance.clamp(min=0) + VARIANCE_FLOOR).sqrt()], 1)


def fuse(logits: Mapping[str, Tensor], present: Mapping[str, Tensor], balance: Tensor | None = None) -> Tensor:
    """Return fused log-probabilities (B, C) from logits (B, C): the mean over the modalities `present` (B,) in a clip.

    The softmax of `balance` (modalities,) weights the mean.
    """
    weights = torch.stack([present[name] for name in logits]).to(torch.float32)[..., None]  # (modalities, B, 1)
    if balance is not None:
        weights = weights * balance.softmax(0)[:, None, None]
    parts = torch.stack([values.log_softmax(-1) for values in logits.values()])
    total = weights.sum(0)
    mean: Tensor = (parts * weights).sum(0) / torch.where(total > 0, total, 1)
    return mean.log_softmax(-1)


@contextmanager
def attention_as_in_training() -> Iterator[None]:
    """Keep torch's transformers from their fast path for evaluation, which may shorten the padded clips of a batch."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
