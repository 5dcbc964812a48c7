"""Frozen backbones that turn images into tokens, and their engines; the stages `embed_faces` and `embed_mels`."""

__all__ = ["backbones", "checks", "engines", "int8", "step", "tokens"]
