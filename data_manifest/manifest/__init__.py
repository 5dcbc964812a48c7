"""The manifest: clips and exclusions, the roots and lengths of their media, clips as jobs; the stage `manifest`."""

__all__ = ["checksums", "clips", "jobs", "lengths", "paths", "roots", "speakers", "weights"]
