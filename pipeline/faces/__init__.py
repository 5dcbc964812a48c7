"""Face crops of a clip's person: detectors, precomputed boxes, landmarks, tracks; the stage `faces`."""

__all__ = [
    "checks",
    "contract",
    "crops",
    "detectors",
    "landmarks",
    "networks",
    "precomputed",
    "sheet",
    "step",
    "tracks",
]
