"""Which clips train, validate and test: a split that cannot leak, and the protocols that make splits."""

__all__ = ["protocols", "split"]
