"""The head of the authors' code, github.com/shaokai1209/FDAN, for comparison; its names are theirs, so weights load.

What differs from ours, and from the paper: attention runs over the *batch*, changes its first sample only, and is left
out of prediction; the modalities' batches are shuffled independently; both share bottleneck and classifier.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.base.errors import ParameterError
from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.layers import ReplicaRandom, mean_token
from pipeline.store.tokens import Tokens

WIDTH, HEADS, WIDTH_OF_HEAD = 256, 2, 32


class BatchAttention(nn.Module):
    """The first row asks all rows, itself among them: (1, n, WIDTH) to (1, 1, WIDTH)."""

    def __init__(self) -> None:
        """Build without biases but for the last layer, as theirs is."""
        super().__init__()
        inner = HEADS * WIDTH_OF_HEAD
        self.to_k, self.to_v, self.to_q = (nn.Linear(WIDTH, inner, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(inner, WIDTH), nn.Dropout(0))

    def forward(self, rows: Tensor) -> Tensor:
        """(1, n, WIDTH) to (1, 1, WIDTH)."""
        key, value, query = (
            part.unflatten(-1, (HEADS, WIDTH_OF_HEAD)).transpose(1, 2)
            for part in (self.to_k(rows), self.to_v(rows), self.to_q(rows[:, :1]))
        )
        weights = (query @ key.transpose(-2, -1) * WIDTH_OF_HEAD**-0.5).softmax(-1)  # (1, HEADS, 1, n)
        mixed: Tensor = self.to_out((weights @ value).transpose(1, 2).flatten(2))
        return mixed


class Normalised(nn.Module):
    """A layer norm before a module."""

    def __init__(self, module: nn.Module) -> None:
        """Wrap the module."""
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(WIDTH), module

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise, then call."""
        result: Tensor = self.fn(self.norm(rows))
        return result


class Shuffle(ReplicaRandom):
    """An order for a batch: their modalities are shuffled independently."""

    def forward(self, rows: Tensor) -> Tensor:
        """(B, D) to an order (B,)."""
        self.shape = rows.shape
        return self.noise if self.noise.ndim else torch.arange(len(rows), device=rows.device)

    def draw_noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return a random order for each replica."""
        return torch.stack([torch.randperm((self.shape or (0,))[0], generator=it) for it in generators])


class OfficialHead(Head):
    """Bottleneck, attention over the batch, classifier; the width is theirs, whatever `head.width` says."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes; one bottleneck serves both modalities."""
        super().__init__()
        if shapes.visual != shapes.acoustic:
            raise ParameterError(
                f"head official has one bottleneck for both modalities, whose tokens are {shapes.visual} and "
                f"{shapes.acoustic} wide; use one backbone for both"
            )
        self.shuffle = Shuffle()
        self.bottleneck_layer = nn.Sequential(nn.Linear(shapes.visual, WIDTH), nn.ReLU())
        self.classifier_layer = nn.Linear(WIDTH, shapes.classes)
        # In their order: into and out of the visual attention, that attention; the same for the acoustic one.
        layers = [nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), Normalised(BatchAttention())]
        layers += [nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), Normalised(BatchAttention())]
        self.cross_attn_layers = nn.ModuleList([nn.ModuleList(layers)])

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips, of which the mean is taken, to logits (B, C) and one layer of (B, WIDTH)."""
        seen, heard = (self.bottleneck_layer(mean_token(tokens)) for tokens in (visual, acoustic))
        if self.training:
            order = self.shuffle(heard)
            seen, heard = self.attend(seen, heard[order])
            heard = heard[order.argsort()]  # what they shuffle, we put back: labels stay with their clips
        return HeadOutput(self.classifier_layer(seen), self.classifier_layer(heard), [seen], [heard])

    def attend(self, seen: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Return both batches (B, WIDTH), their first rows replaced."""
        into_seen, out_of_seen, attend_seen, into_heard, out_of_heard, attend_heard = cast(
            nn.ModuleList, self.cross_attn_layers[0]
        )
        rows = torch.cat([into_heard(heard[:1]), seen[1:]])
        new_heard = out_of_heard(rows[:1] + attend_heard(rows[None])[0])
        rows = torch.cat([into_seen(seen[:1]), heard[1:]])
        new_seen = out_of_seen(rows[:1] + attend_seen(rows[None])[0])
        return torch.cat([new_seen, seen[1:]]), torch.cat([new_heard, heard[1:]])
