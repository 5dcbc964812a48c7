"""Pulling two modalities together: alignments behind one contract, and the weight that grows with training.

An alignment is a function of two feature batches (n, D), (m, D) and their class weights (n, C), (m, C); it
returns a scalar. A row whose class weights are all 0 is no sample: so a clip that lacks a modality takes no part.
A table entry is a builder: called with the section's configuration, it returns the alignment.
"""

from collections.abc import Callable

from torch import Tensor

from pipeline.alignments.contract import Alignment, AlignmentConfig
from pipeline.alignments.coral import build_coral
from pipeline.alignments.lmmd import build_lmmd
from pipeline.alignments.mmd import build_mmd


def build_none(config: AlignmentConfig) -> Alignment:
    def none(source: Tensor, target: Tensor, source_probs: Tensor, target_probs: Tensor) -> Tensor:
        return source.new_zeros(())

    return none


ALIGNMENTS: dict[str, Callable[[AlignmentConfig], Alignment]] = {
    "coral": build_coral,
    "lmmd": build_lmmd,
    "mmd": build_mmd,
    "none": build_none,
}
"""Alignments by name: builders that take an `AlignmentConfig`."""
