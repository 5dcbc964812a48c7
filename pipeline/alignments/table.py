"""The table of alignments by name.

An entry is a builder: it takes the section `alignment` and returns the alignment.
"""

from collections.abc import Callable

from torch import Tensor

from pipeline.alignments.contract import Alignment, AlignmentConfig
from pipeline.alignments.coral import build_coral
from pipeline.alignments.lmmd import build_lmmd
from pipeline.alignments.mmd import build_mmd


def build_none(config: AlignmentConfig) -> Alignment:
    """Return an alignment that is always 0."""

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
