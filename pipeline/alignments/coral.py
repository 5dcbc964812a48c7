"""Pulling two modalities together: alignments behind one contract, and the weight that grows with training.

An alignment is a function of two feature batches (n, D), (m, D) and their class weights (n, C), (m, C); it
returns a scalar. A row whose class weights are all 0 is no sample: so a clip that lacks a modality takes no part.
A table entry is a builder: called with the section's configuration, it returns the alignment.
"""

from torch import Tensor

from pipeline.alignments.contract import Alignment, AlignmentConfig, sample_mask


def build_coral(config: AlignmentConfig) -> Alignment:
    """The squared distance of the covariances, by 4D². Sun and Saenko, Deep CORAL, arXiv 1607.01719."""

    def coral(source: Tensor, target: Tensor, source_probs: Tensor, target_probs: Tensor) -> Tensor:
        difference = _covariance(source, sample_mask(source_probs)) - _covariance(target, sample_mask(target_probs))
        return difference.square().sum() / (4 * source.shape[1] ** 2)

    return coral


def _covariance(features: Tensor, present: Tensor) -> Tensor:
    """Return the covariance (D, D) of the rows that are there; 0 where there is one or none."""
    count = present.sum()
    mean = (features * present[:, None]).sum(0) / count.clamp(min=1)
    centred = (features - mean) * present[:, None]
    return centred.T @ centred / (count - 1).clamp(min=1)
