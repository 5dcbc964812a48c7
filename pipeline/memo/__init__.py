"""The cache of per-clip results, keyed by everything that shapes them, and the mapping of a step over clips."""

__all__ = ["entries", "extraction"]
