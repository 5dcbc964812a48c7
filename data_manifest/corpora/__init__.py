"""Corpora on disk: the adapters' contract, one adapter per file, label tables, probing; the stage `corpus`."""

__all__ = [
    "adapters",
    "checks",
    "contract",
    "crema_d",
    "csv_table",
    "emodb",
    "enterface",
    "folder",
    "meld",
    "probing",
    "published",
    "ravdess",
    "savee",
]
