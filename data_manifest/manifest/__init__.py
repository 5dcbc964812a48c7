"""The manifest: clips and exclusions, where their media lie, clips as jobs; the stage `manifest`."""

__all__ = ["checksums", "clips", "jobs", "roots"]
