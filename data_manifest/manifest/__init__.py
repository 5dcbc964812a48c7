"""The manifest: clips and exclusions, the roots of their media, clips as jobs; the stage `manifest`."""

__all__ = ["checksums", "clips", "jobs", "paths", "roots"]
