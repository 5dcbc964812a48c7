"""A backbone of random projections: a token for each cell of a grid.

In params.yaml: `embed_faces: {backbone: "backbone:Patches", options: {cells: 3}}`, and the same for `embed_mels`.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from fdan import BackboneConfig, Config, takes_options


class Options(Config):
    """What `embed_faces.options` and `embed_mels.options` may contain."""

    cells: int = Field(2, ge=1, le=14)
    """An image gives cells x cells tokens."""


@takes_options(Options)
class Patches(nn.Module):
    """Fixed random projections of patches of 16 x 16 pixels, averaged over the cells of a grid.

    The class is its own builder. The module is frozen and put into eval mode after it is built. If the parameter
    `weights` is a path, load that file here.
    """

    def __init__(self, config: BackboneConfig) -> None:
        """Draw the projections, which are the same in every process."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.project = nn.Conv2d(3, 256, kernel_size=16, stride=16)
        self.pool = nn.AdaptiveAvgPool2d(config.options.cells)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, 3, H, W) float32 in 0..1 into tokens (B, k, D); a spectrogram has three equal channels."""
        tokens: Tensor = self.pool(self.project(images - 0.5)).flatten(2).transpose(1, 2)
        return tokens
