"""Reading media with PyAV: what a file holds, frames at chosen times, sound as one channel."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ClipError
from pipeline.media._opening import open_media


@dataclass(frozen=True)
class MediaInfo:
    """What decoding a file from end to end has shown."""

    duration_s: float
    frames: int
    fps: float  # the mean; 0 where there are fewer than two frames
    width_px: int
    height_px: int
    samples: int
    rate_hz: int
    channels: int

    def as_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return it as the memo keeps it; `from_arrays` reads it back."""
        return {"media": np.asarray(astuple(self), np.float64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "MediaInfo":
        """Return what `as_arrays` gave."""
        duration_s, frames, fps, *sizes = arrays["media"].tolist()
        return cls(duration_s, int(frames), fps, *map(int, sizes))

    @property
    def has_video(self) -> bool:
        """Whether at least one picture came out."""
        return self.frames > 0

    @property
    def has_audio(self) -> bool:
        """Whether at least one audio sample came out."""
        return self.samples > 0


def probe(path: Path) -> MediaInfo:
    """Decode the whole file once and say what it holds; raise `ClipError` where it is damaged.

    A header promises what the data may not keep, so nothing is taken from the header.
    """
    frames = width = height = samples = rate = channels = 0
    end_s = 0.0
    shown_s: list[float] = []
    with open_media(path) as container:
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        if not streams:
            raise ClipError("has neither video nor audio")
        start_s = (container.start_time or 0) / av.time_base
        for frame in container.decode(streams):
            if isinstance(frame, av.VideoFrame):
                frames, width, height = frames + 1, frame.width, frame.height
                shown_s.append((frame.time or 0.0) - start_s)
            elif isinstance(frame, av.AudioFrame):
                samples += frame.samples
                rate, channels = frame.sample_rate, frame.layout.nb_channels
                end_s = max(end_s, (frame.time or 0.0) - start_s + frame.samples / rate)
    if not frames and not samples:
        raise ClipError("cannot be decoded: no picture and no sound came out")
    shown_s.sort()  # a film is as long as its last frame is shown
    fps = (frames - 1) / (shown_s[-1] - shown_s[0]) if shown_s[-1:] > shown_s[:1] else 0.0
    end_s = max([end_s, *(at + (1 / fps if fps else 0) for at in shown_s[-1:])])
    return MediaInfo(round(end_s, 6), frames, round(fps, 3), width, height, samples, rate, channels)


def probe_arrays(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return `probe`'s answer as the memo keeps it."""
    return probe(path).as_arrays()
