"""What a media file contains, found by decoding all of it."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ClipError
from pipeline.media._decoding import decode
from pipeline.media._opening import first_stream, open_media
from pipeline.media._promises import read_promise
from pipeline.media._signals import ColourMeter, LoudnessMeter
from pipeline.media.limits import DEFAULT_LIMITS, Limits
from pipeline.media.loudness import SILENCE_DBFS

COUNTS = (
    "frames",
    "width_px",
    "height_px",
    "samples",
    "rate_hz",
    "channels",
    "one_colour",
)  # the fields that are whole numbers


@dataclass(frozen=True)
class MediaInfo:
    """The content of a media file, as decoded from beginning to end."""

    duration_s: float
    frames: int
    fps: float  # the mean rate; 0 if there are fewer than two frames
    width_px: int
    height_px: int
    samples: int
    rate_hz: int
    channels: int
    decoded_s: float = 0.0  # how much of `promised_s` could be decoded
    promised_s: float = 0.0  # the length that the header announces for the stream that lacks most; 0 if for none
    loudest_dbfs: float = SILENCE_DBFS  # the level of the loudest second, to a decibel; NaN if samples are not finite
    one_colour: int = 0  # 1 if every frame is one colour

    def as_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return all fields as one array, the format of the memo."""
        return {"media": np.asarray(astuple(self), np.float64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "MediaInfo":
        """Return the object that `as_arrays` was called on."""
        values = dict(zip((it.name for it in fields(cls)), arrays["media"].tolist(), strict=True))
        return cls(**values | {name: int(values[name]) for name in COUNTS})

    @property
    def has_video(self) -> bool:
        """Whether at least one frame was decoded."""
        return self.frames > 0

    @property
    def has_audio(self) -> bool:
        """Whether at least one audio sample was decoded."""
        return self.samples > 0


def probe(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> MediaInfo:
    """Decode the whole file once and return what it contains.

    The header may be wrong about the data, so all fields but `promised_s` come from the decoded frames. Raise
    `ClipError` if the file is damaged, if it exceeds the limits, or if the size of its picture changes; a file that was
    cut short is decoded as far as it goes.
    """
    frames = width = height = samples = rate = channels = 0
    audio_s = 0.0
    times_s: list[float] = []
    loudness, colour = LoudnessMeter(), ColourMeter()
    with open_media(path, limits) as container:
        video = first_stream(container.streams.video, "video", limits)
        audio = first_stream(container.streams.audio, "audio", limits)
        streams = [stream for stream in (video, audio) if stream is not None]
        if not streams:
            raise ClipError("has neither video nor audio")
        promise = read_promise(path, container, video, audio)
        start_s = (container.start_time or 0) / av.time_base
        for frame in decode(container, streams, limits):
            if isinstance(frame, av.VideoFrame):
                frames, width, height = frames + 1, frame.width, frame.height
                times_s.append((frame.time or 0.0) - start_s)
                colour.add(frame)
            else:
                samples += frame.samples
                rate, channels = frame.sample_rate, frame.layout.nb_channels
                audio_s = max(audio_s, (frame.time or 0.0) - start_s + frame.samples / rate)
                loudness.add(frame)
    if not frames and not samples:
        raise ClipError("cannot be decoded: it gives neither frames nor audio samples")
    times_s.sort()
    fps = (frames - 1) / (times_s[-1] - times_s[0]) if times_s[-1:] > times_s[:1] else 0.0
    # A video ends when its last frame has been shown for one frame period.
    video_s = times_s[-1] + (1 / fps if fps else 0) if times_s else 0.0
    lengths = promise.least_kept(video_s=video_s, frames=frames, audio_s=audio_s)
    sizes = (width, height, samples, rate, channels)
    signals = round(loudness.level_dbfs, 1), int(colour.is_one_colour)
    decoded_s, promised_s = (round(it, 6) for it in lengths)
    duration_s = round(max(video_s, audio_s), 6)
    return MediaInfo(duration_s, frames, round(fps, 3), *sizes, decoded_s, promised_s, *signals)


def probe_arrays(path: Path, *, limits: Limits) -> dict[str, NDArray[np.float64]]:
    """Return the result of `probe` in the format of the memo."""
    return probe(path, limits=limits).as_arrays()
