"""What every room builds on: errors, parameters, plugins and names, files, tables, memory, provenance, digests."""

__all__ = [
    "builders",
    "compilation",
    "digests",
    "errors",
    "files",
    "logs",
    "memory",
    "options",
    "params",
    "plugins",
    "processes",
    "provenance",
    "registry",
    "selection",
    "tables",
    "text",
    "vision",
]
