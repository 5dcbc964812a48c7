"""Frozen backbones that turn pictures into tokens, and what runs them; the stages `embed_faces` and `embed_mels`."""

__all__ = ["backbones", "engines", "int8", "step", "tokens"]
