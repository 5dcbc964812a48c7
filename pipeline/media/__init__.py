"""Reading media with PyAV: what a file holds, frames at chosen times, sound as one channel."""

__all__ = ["frames", "probe", "sound"]
