"""The head `official`: the head of the authors' code, github.com/shaokai1209/FDAN, for comparison.

Its parameters have the authors' names, so their weights load. It differs from `fdan`, and from the paper: attention
runs over the *batch*, changes its first sample only, and is not used in prediction; the modalities' batches are
shuffled independently; both modalities share bottleneck and classifier.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.base.errors import ParameterError
from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.layers import ReplicaRandom, Standardise, mean_token
from pipeline.store.tokens import Tokens

WIDTH, HEADS, WIDTH_OF_HEAD = 256, 2, 32


class BatchAttention(nn.Module):
    """Attention of the first row to all rows, itself included: (1, n, WIDTH) to (1, 1, WIDTH)."""

    def __init__(self) -> None:
        """Build with a bias in the last layer only, as in the authors' code."""
        super().__init__()
        inner = HEADS * WIDTH_OF_HEAD
        self.to_k, self.to_v, self.to_q = (nn.Linear(WIDTH, inner, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(inner, WIDTH), nn.Dropout(0))

    def forward(self, rows: Tensor, present: Tensor) -> Tensor:
        """Rows (1, n, WIDTH), of which those present (n,) are attended to, to (1, 1, WIDTH)."""
        key, value, query = (
            part.unflatten(-1, (HEADS, WIDTH_OF_HEAD)).transpose(1, 2)
            for part in (self.to_k(rows), self.to_v(rows), self.to_q(rows[:, :1]))
        )
        scores = query @ key.transpose(-2, -1) * WIDTH_OF_HEAD**-0.5
        weights = scores.masked_fill(~present, -torch.inf).softmax(-1)  # (1, HEADS, 1, n)
        attended: Tensor = self.to_out((weights @ value).transpose(1, 2).flatten(2))
        return attended


class Normalised(nn.Module):
    """A module behind a layer norm."""

    def __init__(self, module: nn.Module) -> None:
        """Wrap the module."""
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(WIDTH), module

    def forward(self, rows: Tensor, present: Tensor) -> Tensor:
        """Normalise, then apply the module."""
        result: Tensor = self.fn(self.norm(rows), present)
        return result


class Shuffle(ReplicaRandom):
    """A random order of the batch: the authors shuffle the modalities independently."""

    def forward(self, rows: Tensor) -> Tensor:
        """(B, D) to an order (B,)."""
        self.shape = rows.shape
        # The ranks of an order are the order itself, and those of a part of it are an order of fewer clips.
        return self.noise.argsort().argsort() if self.noise.ndim else torch.arange(len(rows), device=rows.device)

    def draw_noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return a random order for each replica."""
        return torch.stack([torch.randperm((self.shape or (0,))[0], generator=it) for it in generators])


class OfficialHead(Head):
    """Bottleneck, attention over the batch, classifier. The width is the authors'; `head.width` has no effect."""

    uses_batch = True

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes; one bottleneck serves both modalities."""
        super().__init__()
        if shapes.visual != shapes.acoustic:
            raise ParameterError(
                f"head official has one bottleneck for both modalities, whose tokens are {shapes.visual} and "
                f"{shapes.acoustic} wide; use one backbone for both"
            )
        # Not in the authors' code: there, the scale of the tokens decides whether the head learns at all.
        self.scales = nn.ModuleList(Standardise(shapes.visual) for _ in range(2 if config.standardise else 0))
        self.shuffle = Shuffle()
        self.bottleneck_layer = nn.Sequential(nn.Linear(shapes.visual, WIDTH), nn.ReLU())
        self.classifier_layer = nn.Linear(WIDTH, shapes.classes)
        # In the authors' order: into and out of the visual attention, that attention; the same for the acoustic one.
        layers = [nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), Normalised(BatchAttention())]
        layers += [nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), Normalised(BatchAttention())]
        self.cross_attn_layers = nn.ModuleList([nn.ModuleList(layers)])

    def fit(self, examples: Examples) -> None:
        """Measure mean and standard deviation of the tokens, if they are to be standardised."""
        for scale, tokens in zip(self.scales, (examples.visual, examples.acoustic), strict=False):
            cast(Standardise, scale).fit(tokens)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Mean tokens of B clips to logits (B, C) and one layer of (B, WIDTH)."""
        if self.scales:
            visual, acoustic = (
                Tokens(scale(tokens.values), tokens.times, tokens.mask)
                for scale, tokens in zip(self.scales, (visual, acoustic), strict=True)
            )
        visual_rows, acoustic_rows = (self.bottleneck_layer(mean_token(tokens)) for tokens in (visual, acoustic))
        if self.training:
            order = self.shuffle(acoustic_rows)
            order = order[(~acoustic.present[order]).to(torch.int8).argsort(stable=True)]  # padded rows come last
            present = visual.present, acoustic.present[order]
            visual_rows, acoustic_rows = self.attend(visual_rows, acoustic_rows[order], *present)
            acoustic_rows = acoustic_rows[order.argsort()]  # undo the shuffle, so that labels stay with their clips
        logits = self.classifier_layer(visual_rows), self.classifier_layer(acoustic_rows)
        return HeadOutput(*logits, [visual_rows], [acoustic_rows])

    def attend(
        self, visual: Tensor, acoustic: Tensor, has_visual: Tensor, has_acoustic: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return both batches (B, WIDTH) with their first rows replaced; rows not present (B,) play no part."""
        into_visual, out_of_visual, attend_visual, into_acoustic, out_of_acoustic, attend_acoustic = cast(
            nn.ModuleList, self.cross_attn_layers[0]
        )
        first = torch.ones_like(has_visual[:1])  # the query attends to itself, too
        rows = torch.cat([into_acoustic(acoustic[:1]), visual[1:]])
        attended = attend_acoustic(rows[None], torch.cat([first, has_visual[1:]]))
        first_acoustic = out_of_acoustic(rows[:1] + attended[0])
        rows = torch.cat([into_visual(visual[:1]), acoustic[1:]])
        attended = attend_visual(rows[None], torch.cat([first, has_acoustic[1:]]))
        first_visual = out_of_visual(rows[:1] + attended[0])
        return torch.cat([first_visual, visual[1:]]), torch.cat([first_acoustic, acoustic[1:]])
