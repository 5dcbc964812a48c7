"""Corpora on disk: the adapters' contract, one adapter a file, label tables, probing; the stage `corpus`."""

__all__ = [
    "adapters",
    "crema_d",
    "emodb",
    "enterface",
    "findings",
    "folder",
    "meld",
    "probing",
    "ravdess",
    "savee",
    "table",
]
