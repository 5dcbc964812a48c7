"""Alignments: distances between the modalities' features that training minimises, one per file, and their weight."""

__all__ = ["checks", "contract", "coral", "lmmd", "mmd", "schedule", "table"]
