"""The head `fdan` without one of its later changes, to measure what each of them gives (docs/head.md)."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.heads.contract import HeadConfig, HeadOutput, Shapes
from pipeline.heads.fdan import Encoder, FdanHead, Pair, feed_forward, layer_outputs
from pipeline.heads.layers import masked_mean
from pipeline.store.tokens import Tokens


class MeanPooled(FdanHead):
    """Pools the mean of the tokens, without their standard deviation."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes."""
        super().__init__(config, shapes)
        self.ffn_visual, self.ffn_acoustic = (feed_forward(config, inputs=config.width) for _ in range(2))

    def _layers(self, tokens: Pair, masks: Pair) -> tuple[list[Tensor], list[Tensor]]:
        visual, acoustic = (masked_mean(*them) for them in zip(tokens, masks, strict=True))
        return layer_outputs(self.ffn_visual, visual), layer_outputs(self.ffn_acoustic, acoustic)


class LinearProjection(FdanHead):
    """Projects the tokens linearly, without a GELU."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes."""
        super().__init__(config, shapes)
        self.encode_visual, self.encode_acoustic = (LinearEncoder(it, config) for it in shapes[:2])


class WithoutClock(FdanHead):
    """Knows nothing of the tokens' times."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build for the data's shapes."""
        super().__init__(config, shapes)
        for encoder in (self.encode_visual, self.encode_acoustic):
            encoder.get_buffer("rates").zero_()  # every time looks the same


class LinearEncoder(Encoder):
    """An encoder without a GELU."""

    def forward(self, tokens: Tokens) -> Tensor:
        """(B, T, D) to (B, T, width)."""
        angles = tokens.times[..., None] * self.get_buffer("rates")
        clock = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        weight, bias = self.standardise.fold(self.project)
        return functional.linear(tokens.values, weight, bias) + clock


class TrainedTogether(FdanHead):
    """Learns the answers without the other modality only from clips that lack it."""

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Tokens of B clips to logits (B, C) and layers of (B, width), for each modality."""
        return super().forward(visual, acoustic)._replace(video_only=None, audio_only=None)
