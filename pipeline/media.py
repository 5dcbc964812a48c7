"""Reading media with PyAV: what a file holds, frames at chosen times, sound as one channel."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from pipeline.errors import ClipError, StoreError

Stream = TypeVar("Stream")
JPEG_QUALITY = 95
Channels = Literal["mix", "first", "center"]  # center: the dialogue of 5.1 sound; without a centre all are mixed


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


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    try:
        with av.open(str(path)) as container:
            for stream in (*container.streams.video, *container.streams.audio):
                stream.codec_context.thread_count = 1  # processes make use of the cores
            yield container
    except (FFmpegError, OSError) as error:
        raise ClipError(f"cannot be decoded: {error.strerror or error}") from error


def _first(streams: Sequence[Stream], kind: str) -> Stream:
    if not streams:
        raise ClipError(f"has no {kind}")
    return streams[0]


def probe(path: Path) -> MediaInfo:
    """Decode the whole file once and say what it holds; raise `ClipError` where it is damaged.

    A header promises what the data may not keep, so nothing is taken from the header.
    """
    frames = width = height = samples = rate = channels = 0
    end_s = 0.0
    shown_s: list[float] = []
    with _opened(path) as container:
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


def read_frames(path: Path, *, count: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return frames (n, height, width, 3) RGB and their times (n,) in seconds, n = min(count, frames there are).

    The clip is cut into `count` equal parts, and the frame nearest to the middle of each is taken.
    """
    wanted = _evenly(_stamps(path), count)
    taken: dict[int, NDArray[np.uint8]] = {}
    with _opened(path) as container:
        stream = _first(container.streams.video, "video")
        for frame in container.decode(stream):
            if frame.pts in wanted:
                taken[frame.pts] = _upright(frame)
            if len(taken) == len(wanted):
                break
        base, start_s = _clock(container)
    if not taken:
        raise ClipError("none of its video's frames can be decoded")
    times = np.asarray([stamp * base - start_s for stamp in sorted(taken)], np.float32)
    return np.stack([taken[stamp] for stamp in sorted(taken)]), times


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the picture (height, width, 3) RGB as a player shows it: telephones store it turned, and say so."""
    # By itself it would start threads for every frame, and that takes longer than the frame.
    image = np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8)
    return np.rot90(image, frame.rotation // 90) if frame.rotation % 360 else image


def frame_times(path: Path) -> NDArray[np.float32]:
    """Return the times (n,) of all frames in seconds, as `read_frames` counts them."""
    with _opened(path) as container:
        base, start_s = _clock(container)
    return np.asarray(_stamps(path) * base - start_s, np.float32)


def _clock(container: InputContainer) -> tuple[float, float]:
    """Return the seconds of a unit of the video's time, and when the clip begins."""
    stream = _first(container.streams.video, "video")
    return float(stream.time_base or 0), (container.start_time or 0) / av.time_base


def _stamps(path: Path) -> NDArray[np.int64]:
    """Return the sorted presentation times, in the stream's units: they stand in the packets, undecoded."""
    with _opened(path) as container:
        stamps = sorted(
            packet.pts for packet in container.demux(_first(container.streams.video, "video")) if packet.pts is not None
        )
    if not stamps:
        raise ClipError("its video holds no frames")
    return np.asarray(stamps)


def _evenly(stamps: NDArray[np.int64], count: int) -> set[int]:
    """Return those of the sorted stamps that lie nearest to the middles of `count` equal parts."""
    step = np.median(np.diff(stamps)) if len(stamps) > 1 else 1
    middles = stamps[0] + (np.arange(count) + 0.5) / count * (stamps[-1] + step - stamps[0]) - step / 2
    return {int(stamps[np.abs(stamps - middle).argmin()]) for middle in middles}


def read_audio(path: Path, *, rate_hz: int, channels: Channels = "mix") -> NDArray[np.float32]:
    """Return the sound as one channel, (samples,) in -1..1, at the given rate."""
    with _opened(path) as container:
        stream = _first(container.streams.audio, "audio")
        index = _channel(stream.layout, channels)
        resampler = av.AudioResampler(format="fltp", layout="mono" if index is None else None, rate=rate_hz)
        parts = [
            part.to_ndarray()[index or 0]
            for frame in [*container.decode(stream), None]  # None flushes the resampler
            for part in resampler.resample(frame)
        ]
    if not parts:
        raise ClipError("its audio holds no samples")
    return np.concatenate(parts)


def _channel(layout: av.AudioLayout, wanted: Channels) -> int | None:
    """Return which channel to take; None where all are to be mixed, or the layout has no centre."""
    names = [channel.name for channel in layout.channels]
    if wanted == "center":
        return names.index("FC") if "FC" in names else None
    return 0 if wanted == "first" else None


def encode_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the JPEG file (bytes,) of an RGB image (height, width, 3)."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ClipError(f"a crop of shape {image.shape} cannot be encoded")
    return np.asarray(data, np.uint8).reshape(-1)


def decode_jpeg(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the RGB image (height, width, 3) of a JPEG file (bytes,)."""
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise StoreError("a stored crop is no image; run: dvc repro --force --single-item faces")
    return np.ascontiguousarray(image[..., ::-1], np.uint8)
