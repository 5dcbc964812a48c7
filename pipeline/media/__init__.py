"""Reading media files with PyAV: what a file contains, frames at chosen times, audio as one channel."""

__all__ = ["audio", "files", "frames", "limits", "loudness", "probe", "truncation"]
