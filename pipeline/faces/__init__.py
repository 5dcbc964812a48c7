"""Faces: detectors, landmarks, tracks, precomputed boxes, crops; the stage `faces`."""

__all__ = ["contract", "crops", "detectors", "landmarks", "networks", "precomputed", "sheet", "step", "tracks"]
