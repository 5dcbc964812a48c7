"""An alignment: the distance of both modalities' class means, where a small distance costs nothing.

In params.yaml: `alignment: {name: "alignment:build", options: {margin: 0.5}}`.
"""

from pydantic import Field
from torch import Tensor

from fdan import Alignment, AlignmentConfig, Config, takes_options


class Options(Config):
    """What `alignment.options` may contain."""

    margin: float = Field(0.0, ge=0)
    """Squared distances below it cost nothing."""


@takes_options(Options)
def build(config: AlignmentConfig) -> Alignment:
    """Return the distance."""
    margin: float = config.options.margin

    def distance(visual: Tensor, acoustic: Tensor, visual_classes: Tensor, acoustic_classes: Tensor) -> Tensor:
        """Return a scalar of features (n, D) and (m, D) with class weights (n, C) and (m, C), one-hot or soft.

        A row of zeros in the class weights marks a clip that lacks the modality: it must have no influence.
        """
        visual_means, acoustic_means = (
            classes.T @ features / classes.sum(0).clamp(min=1)[:, None]  # (C, D); clamped, because a class can be rare
            for features, classes in ((visual, visual_classes), (acoustic, acoustic_classes))
        )
        common = ((visual_classes.sum(0) > 0) & (acoustic_classes.sum(0) > 0)).to(visual.dtype)
        squares = ((visual_means - acoustic_means).square().sum(1) - margin).clamp(min=0)
        return (squares * common).sum() / common.sum().clamp(min=1)

    return distance
