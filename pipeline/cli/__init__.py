"""The command line `fdan`: one module per command, and the checks and surveys behind `doctor` and `configure`."""

__all__ = ["sections"]
