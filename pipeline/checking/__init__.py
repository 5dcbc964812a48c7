"""Checks of a user's own parts on a few clips, and skeletons of new ones: `fdan check` and `fdan new`."""

__all__ = [
    "arguments",
    "backbones",
    "clips",
    "corpora",
    "extraction",
    "learning",
    "parts",
    "reports",
    "run",
    "skeletons",
]
