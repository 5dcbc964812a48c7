"""Published model weights: fetched once, verified by checksum, and kept in the cache folder."""

__all__ = ["files", "loading", "published"]
