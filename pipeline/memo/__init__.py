"""Per-clip results that are kept under a name of all that shaped them, and a step mapped over clips."""

__all__ = ["entries", "extraction"]
