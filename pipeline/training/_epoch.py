"""What one epoch of a training run has come to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One row of the curves; losses are means over the epoch's batches, the alignment's unweighted, by layer."""

    epoch: int
    cross_entropy: float
    alignment: tuple[float, ...]
    validation_uar: float  # nan where nothing validates: the refit on all clips
