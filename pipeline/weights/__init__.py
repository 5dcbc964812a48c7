"""Published weights: fetched once, verified by checksum, kept in the cache folder."""

__all__ = ["files"]
