"""A head without attention: the mean of each modality's tokens, some layers, one classifier.

In params.yaml: `head: {name: "head:Shallow", options: {layers: 2}}`.
"""

from pydantic import Field
from torch import nn

from fdan import (
    Config,
    Dropout,
    Examples,
    Head,
    HeadConfig,
    HeadOutput,
    Shapes,
    Standardise,
    Tokens,
    masked_mean,
    takes_options,
)


class Options(Config):
    """What `head.options` may contain."""

    layers: int = Field(1, ge=1, le=10)
    """Hidden layers of each modality."""


@takes_options(Options)
class Shallow(Head):
    """Both modalities pass through layers of their own, are aligned, and share a classifier."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Build the layers for tokens of the widths `shapes.visual` and `shapes.acoustic`."""
        super().__init__()
        self.scale_visual, self.scale_acoustic = Standardise(shapes.visual), Standardise(shapes.acoustic)
        self.from_visual, self.from_acoustic = (
            _hidden_layers(width, config) for width in (shapes.visual, shapes.acoustic)
        )
        self.classify = nn.Linear(config.width, shapes.classes)

    def fit(self, examples: Examples) -> None:
        """Measure what is not learned by gradient. Only the training part is given, so nothing leaks."""
        self.scale_visual.fit(examples.visual)
        self.scale_acoustic.fit(examples.acoustic)

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Turn tokens of B clips into logits (B, classes) of each modality, and the features that are aligned.

        Tokens have `values` (B, T, D), `times` (B, T) in seconds and a `mask` (B, T), False on padding and for a clip
        that lacks the modality: values there must have no influence.
        """
        face = self.from_visual(masked_mean(self.scale_visual(visual.values), visual.mask))
        voice = self.from_acoustic(masked_mean(self.scale_acoustic(acoustic.values), acoustic.mask))
        return HeadOutput(self.classify(face), self.classify(voice), [face], [voice])


def _hidden_layers(width: int, config: HeadConfig) -> nn.Sequential:
    """Return layers from tokens of this width to features (B, config.width)."""
    layers: list[nn.Module] = []
    for _ in range(config.options.layers):
        # Replicas with fdan.Dropout train together, those with torch.nn.Dropout one by one.
        layers += [nn.Linear(width, config.width), nn.GELU(), Dropout(config.dropout)]
        width = config.width
    return nn.Sequential(*layers)
