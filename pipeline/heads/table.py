"""The table of heads by name.

An entry is a builder: it takes the section `head` and the `Shapes` of the data, and returns the head.
"""

from collections.abc import Callable
from functools import partial

from pipeline.heads.concat import Concat
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.fdan import FdanHead
from pipeline.heads.linear import Linear
from pipeline.heads.majority import Majority
from pipeline.heads.official import OfficialHead
from pipeline.heads.single import Single

HEADS: dict[str, Callable[[HeadConfig, Shapes], Head]] = {
    "acoustic": partial(Single, modality="acoustic"),
    "concat": Concat,
    "fdan": FdanHead,
    "linear": Linear,
    "majority": Majority,
    "official": OfficialHead,
    "visual": partial(Single, modality="visual"),
}
"""Heads by name: builders that take a `HeadConfig` and `Shapes`."""
