"""What every room builds on: errors, parameters, the registry of names, files, provenance, digests."""

__all__ = ["digests", "errors", "files", "params", "processes", "provenance", "registry", "selection"]
