"""Heads: classifiers of cached tokens, one per file, their contract, and clips as tensors."""

__all__ = [
    "baseline",
    "checks",
    "concat",
    "contract",
    "ensemble",
    "examples",
    "fdan",
    "layers",
    "lda",
    "linear",
    "majority",
    "official",
    "single",
    "table",
]
