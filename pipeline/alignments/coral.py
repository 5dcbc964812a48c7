"""CORAL: the distance of covariances. Sun and Saenko, Deep CORAL, ECCV Workshops 2016, arXiv 1607.01719."""

from torch import Tensor

from pipeline.alignments.contract import Alignment, AlignmentConfig, sample_mask


def build_coral(config: AlignmentConfig) -> Alignment:
    """Return the squared Frobenius distance of the covariances, divided by 4D²."""

    def coral(source: Tensor, target: Tensor, source_probs: Tensor, target_probs: Tensor) -> Tensor:
        difference = _covariance(source, sample_mask(source_probs)) - _covariance(target, sample_mask(target_probs))
        return difference.square().sum() / (4 * source.shape[1] ** 2)

    return coral


def _covariance(features: Tensor, present: Tensor) -> Tensor:
    """Return the covariance (D, D) of the rows that are present; 0 for fewer than two."""
    count = present.sum()
    mean = (features * present[:, None]).sum(0) / count.clamp(min=1)
    centred = (features - mean) * present[:, None]
    return centred.T @ centred / (count - 1).clamp(min=1)
