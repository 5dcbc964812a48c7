"""The record of one training epoch, apart from `curves`, whose libraries do not shape a trained head."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One row of the curves. Losses are means over batches; those of the alignment are unweighted and by layer."""

    epoch: int
    cross_entropy: float
    alignment: tuple[float, ...]
    validation_uar: float  # NaN without a validation part: the refit on all clips
