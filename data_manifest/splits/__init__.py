"""Training, validation and test clips: a split that is checked for leaks, and the protocols that make splits."""

__all__ = ["dialogues", "overlap", "protocols", "split"]
