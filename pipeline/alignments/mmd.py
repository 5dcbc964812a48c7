"""MMD: the maximum mean discrepancy. Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012."""

from torch import Tensor

from pipeline.alignments.contract import Alignment, AlignmentConfig, sample_mask
from pipeline.alignments.lmmd import lmmd_unchecked


def build_mmd(config: AlignmentConfig) -> Alignment:
    """Return the squared biased MMD of whole batches, which is LMMD with a single class."""

    def mmd(source: Tensor, target: Tensor, source_probs: Tensor, target_probs: Tensor) -> Tensor:
        single = [sample_mask(probs)[:, None] for probs in (source_probs, target_probs)]
        return lmmd_unchecked(
            source, target, *single, kernel_mul=config.kernel_mul, kernel_num=config.kernel_num, normalise="all"
        )

    return mmd
