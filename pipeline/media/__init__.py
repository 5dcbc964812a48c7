"""Reading media files with PyAV: what a file contains, frames at chosen times, sound as one channel."""

__all__ = ["frames", "probe", "sound"]
