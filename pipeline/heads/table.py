"""The table of heads by name.

An entry is a builder: it takes the section `head` and the `Shapes` of the data, and returns the head.
"""

from collections.abc import Callable
from functools import partial

from pipeline.heads.concat import ConcatHead
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.fdan import FdanHead
from pipeline.heads.lda import LdaHead
from pipeline.heads.linear import LinearHead
from pipeline.heads.majority import MajorityHead
from pipeline.heads.official import OfficialHead
from pipeline.heads.single import SingleHead

HEADS: dict[str, Callable[[HeadConfig, Shapes], Head]] = {
    "acoustic": partial(SingleHead, modality="acoustic"),
    "concat": ConcatHead,
    "fdan": FdanHead,
    "lda": LdaHead,
    "linear": LinearHead,
    "majority": MajorityHead,
    "official": OfficialHead,
    "visual": partial(SingleHead, modality="visual"),
}
"""Heads by name: builders that take a `HeadConfig` and `Shapes`."""
