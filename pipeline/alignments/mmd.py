"""Pulling two modalities together: alignments behind one contract, and the weight that grows with training.

An alignment is a function of two feature batches (n, D), (m, D) and their class weights (n, C), (m, C); it
returns a scalar. A row whose class weights are all 0 is no sample: so a clip that lacks a modality takes no part.
A table entry is a builder: called with the section's configuration, it returns the alignment.
"""

from torch import Tensor

from pipeline.alignments.contract import Alignment, AlignmentConfig, sample_mask
from pipeline.alignments.lmmd import lmmd_unchecked


def build_mmd(config: AlignmentConfig) -> Alignment:
    """The squared (biased) maximum mean discrepancy of the whole batches: LMMD with a single class."""

    def mmd(source: Tensor, target: Tensor, source_probs: Tensor, target_probs: Tensor) -> Tensor:
        single = [sample_mask(probs)[:, None] for probs in (source_probs, target_probs)]
        return lmmd_unchecked(
            source, target, *single, kernel_mul=config.kernel_mul, kernel_num=config.kernel_num, normalise="all"
        )

    return mmd
