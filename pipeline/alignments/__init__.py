"""Distances that pull the two modalities together: LMMD, MMD, CORAL, one a file with its paper."""

__all__ = ["contract", "coral", "lmmd", "mmd", "schedule", "table"]
