"""What every room stands on: errors, parameters, the registry of names, plugins, files, provenance, digests."""

__all__ = ["digests", "errors", "files", "params", "plugins", "processes", "provenance", "registry", "selection"]
