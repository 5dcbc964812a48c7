"""Heads as PyTorch users write them, with layers that `torch.func.vmap` cannot map over replicas."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.layers import Dropout, masked_mean
from pipeline.store.tokens import Tokens

WIDTH = 16


class Ordinary(Head):
    """The mean of encoded tokens of each modality, and a linear classifier."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes."""
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(it, WIDTH) for it in (shapes.visual, shapes.acoustic))
        self.encoder = self.build_encoder()
        self.drop = Dropout(0.2)  # the noise of fdan's layers, next to that of torch's
        self.classify = nn.Linear(WIDTH, shapes.classes)

    def build_encoder(self) -> nn.Module:
        """Return the layer that this head is about."""
        return nn.Identity()

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """(B, T, WIDTH) to (B, WIDTH)."""
        return masked_mean(self.encoder(values), mask)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) and one layer of (B, WIDTH), for each modality."""
        parts = zip(self.project, (visual, acoustic), strict=True)
        features = [self.drop(self.encode(layer(tokens.values), tokens.mask)) for layer, tokens in parts]
        return HeadOutput(self.classify(features[0]), self.classify(features[1]), [features[0]], [features[1]])


class Lstm(Ordinary):
    """A recurrent layer over packed sequences."""

    def build_encoder(self) -> nn.Module:
        """Both directions, half the width each."""
        return nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """Pack, run, unpack."""
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True, total_length=values.shape[1])
        return masked_mean(states, mask)


class Gru(Ordinary):
    """A recurrent layer with dropout between its layers."""

    def build_encoder(self) -> nn.Module:
        """Two layers."""
        return nn.GRU(WIDTH, WIDTH, num_layers=2, dropout=0.3, batch_first=True)

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """Take the mean of all states."""
        return masked_mean(self.encoder(values)[0], mask)


class BatchNorm(Ordinary):
    """Batch norm of the mean tokens."""

    def build_encoder(self) -> nn.Module:
        """With running statistics."""
        return nn.BatchNorm1d(WIDTH)

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """Normalise the means."""
        return self.encoder(masked_mean(values, mask))


class Transformer(Ordinary):
    """A transformer with the defaults of torch, dropout of 0.1 among them."""

    def build_encoder(self) -> nn.Module:
        """One layer."""
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True), 1)

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """Hide padding; a clip without tokens attends to its padding."""
        hidden = ~mask & mask.any(1, keepdim=True)
        return masked_mean(self.encoder(values, src_key_padding_mask=hidden), mask)


class TorchDropout(Ordinary):
    """Dropout of torch."""

    def build_encoder(self) -> nn.Module:
        """Within a sequence."""
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(0.3))


class FunctionalDropout(Ordinary):
    """Dropout that no layer shows."""

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """Drop half."""
        return nn.functional.dropout(masked_mean(values, mask), 0.5, self.training)


class Gate(nn.Module):
    """Control flow on a value."""

    def forward(self, values: Tensor) -> Tensor:
        """Double small values."""
        return 2 * values if values.abs().mean() < 0.1 else values


class Branching(Ordinary):
    """A layer with an `if` on a value."""

    def build_encoder(self) -> nn.Module:
        """Deep in a sequence."""
        return nn.Sequential(nn.Linear(WIDTH, WIDTH), Gate())


class Item(Ordinary):
    """A number taken out of a tensor."""

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """Scale by the largest weight."""
        return masked_mean(values, mask) / (1 + self.classify.weight.detach().abs().max().item())


class MovingAverage(Ordinary):
    """A buffer that training changes, in place and by assignment."""

    average: Tensor
    steps: Tensor

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Start with nothing seen."""
        super().__init__(config, shapes)
        self.register_buffer("average", torch.zeros(WIDTH))
        self.register_buffer("steps", torch.tensor(0))

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """Subtract the moving average."""
        features = masked_mean(values, mask)
        if self.training:
            self.average = 0.9 * self.average + 0.1 * features.detach().mean(0)
            self.steps += 1
        return features - self.average


class Remembering(Ordinary):
    """A tensor that is kept from step to step and is no buffer."""

    last: Tensor | float = 0.0

    def encode(self, values: Tensor, mask: Tensor) -> Tensor:
        """Add the mean of the step before."""
        features = masked_mean(values, mask)
        result = features + self.last
        if self.training:
            self.last = features.detach().mean(0)
        return result


HEADS_ONE_BY_ONE: dict[str, tuple[Callable[[HeadConfig, Shapes], Head], str]] = {
    "lstm": (Lstm, r"its layer `encoder` \(LSTM\)"),
    "gru": (Gru, r"its layer `encoder` \(GRU\)"),
    "batch_norm": (BatchNorm, r"its layer `encoder` \(BatchNorm1d\)"),
    "transformer": (Transformer, r"its layer `encoder\.layers\.0\.self_attn` \(MultiheadAttention\)"),
    "torch_dropout": (TorchDropout, r"its layer `encoder\.2` \(Dropout\)"),
    "functional_dropout": (FunctionalDropout, r"its `FunctionalDropout\.forward` .*random"),
    "branching": (Branching, r"its layer `encoder\.1` \(Gate\) .*control flow"),
    "item": (Item, r"its `Item\.forward` .*item"),
    "moving_average": (MovingAverage, r"its buffer `average` changes"),
    "remembering": (Remembering, "two replicas together get another loss at step"),
}
