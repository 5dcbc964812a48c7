"""What every room builds on: errors, parameters, the registry of names, plugins, files, tables, provenance, digests."""

__all__ = [
    "builders",
    "digests",
    "errors",
    "files",
    "params",
    "plugins",
    "processes",
    "provenance",
    "registry",
    "selection",
    "tables",
    "text",
]
