"""Heads: classifiers of cached tokens, one per file, their contract, and clips as tensors."""

__all__ = [
    "concat",
    "contract",
    "ensemble",
    "examples",
    "fdan",
    "layers",
    "linear",
    "majority",
    "official",
    "single",
    "table",
]
