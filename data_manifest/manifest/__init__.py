"""The manifest: clips and exclusions, the roots and properties of their media, clips as jobs; the stage `manifest`."""

__all__ = ["checksums", "clips", "jobs", "media_table", "paths", "roots", "speakers", "weights"]
