"""Small clips of all containers that the adapters accept, written with the codecs of this FFmpeg."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SAMPLES_PER_FRAME = 1 << 20


@dataclass(frozen=True)
class Recording:
    """How a clip is written."""

    container: str
    video: str = ""  # codec; empty: no video
    audio: str = ""  # codec; empty: no audio
    width: int = 64
    height: int = 48
    frames: int = 5
    fps: int = 25
    rate_hz: int = 44100
    layout: str = "mono"
    samples: int = 8820
    pixel_format: str = "yuv420p"
    bit_rate: int = 0
    video_pts: tuple[int, ...] = ()  # empty: 0, 1, 2 …
    colour: int | None = None  # of all pixels, without sound; None: noise, which differs for each seed


RECORDINGS = {
    ".3gp": Recording("3gp", "mpeg4", "aac"),
    ".avi": Recording("avi", "mpeg4", "pcm_s16le"),
    ".dv": Recording("dv", "dvvideo", "pcm_s16le", 720, 576, frames=2, rate_hz=48000, samples=3840, layout="stereo"),
    ".flv": Recording("flv", "flv", "libmp3lame"),
    ".m2ts": Recording("mpegts", "libx264", "aac"),
    ".m4v": Recording("mp4", "mpeg4", "aac"),
    ".mkv": Recording("matroska", "ffv1", "flac"),
    ".mov": Recording("mov", "mjpeg", "pcm_s16le", pixel_format="yuvj420p"),
    ".mp4": Recording("mp4", "libx264", "aac"),
    ".mpeg": Recording("mpeg", "mpeg1video", "mp2"),
    ".mpg": Recording("mpeg", "mpeg2video", "mp2"),
    ".mts": Recording("mpegts", "mpeg2video", "ac3"),
    ".ogv": Recording("ogv", "libvpx", "flac"),
    ".ts": Recording("mpegts", "libx264", "mp2"),
    ".webm": Recording("webm", "libvpx", "libopus", rate_hz=48000),
    ".wmv": Recording("asf", "wmv2", "wmav2", bit_rate=32000),
    ".wav": Recording("wav", "", "pcm_s16le"),
    ".flac": Recording("flac", "", "flac"),
    ".aif": Recording("aiff", "", "pcm_s16be"),
    ".aiff": Recording("aiff", "", "pcm_s24be"),
    ".au": Recording("au", "", "pcm_mulaw"),
    ".m4a": Recording("ipod", "", "aac"),
    ".aac": Recording("adts", "", "aac"),
    ".opus": Recording("opus", "", "libopus", rate_hz=48000),
    ".ogg": Recording("ogg", "", "flac"),
    ".oga": Recording("oga", "", "flac"),
    ".mp3": Recording("mp3", "", "libmp3lame"),
    ".wma": Recording("asf", "", "wmav2", bit_rate=32000),
    ".amr": Recording("amr", "", "libopencore_amrnb", rate_hz=8000, samples=1600),
}
"""A clip of 0.2 s for each suffix (two frames for .dv, whose frames have one size only)."""


def write_recording(path: Path, recording: Recording, *, seed: int = 0, **changes: Any) -> Path:
    """Write a clip; the bytes differ for each seed."""
    recording = replace(recording, **changes)
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without "bitexact", Matroska and Ogg write a random number.
    with av.open(str(path.absolute()), "w", format=recording.container, options={"fflags": "bitexact"}) as container:
        # All streams must be added before the first packet.
        writers = [_add_video(container, recording, rng)] if recording.video else []
        writers += [_add_audio(container, recording, rng)] if recording.audio else []
        for write in writers:
            write()
    return path


def _add_video(container: Any, recording: Recording, rng: np.random.Generator) -> Callable[[], None]:
    stream = container.add_stream(recording.video, rate=recording.fps)
    stream.width, stream.height = recording.width, recording.height
    stream.pix_fmt = recording.pixel_format
    context = stream.codec_context
    context.thread_count = 1
    context.time_base = Fraction(1, recording.fps)

    def write() -> None:
        for number in range(recording.frames):
            frame = av.VideoFrame.from_ndarray(_image(recording, rng), format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts = recording.video_pts[number] if recording.video_pts else number
            frame.time_base = context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

    return write


def _image(recording: Recording, rng: np.random.Generator) -> NDArray[np.uint8]:
    shape = (recording.height, recording.width, 3)
    if recording.colour is not None:
        return np.full(shape, recording.colour, np.uint8)
    coarse = rng.integers(0, 256, (recording.height // 8 + 1, recording.width // 8 + 1, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)[: recording.height, : recording.width])


def _add_audio(container: Any, recording: Recording, rng: np.random.Generator) -> Callable[[], None]:
    stream = container.add_stream(recording.audio, rate=recording.rate_hz, layout=recording.layout)
    if recording.bit_rate:
        stream.bit_rate = recording.bit_rate

    def write() -> None:
        for start in range(0, recording.samples, SAMPLES_PER_FRAME):
            count = min(SAMPLES_PER_FRAME, recording.samples - start)
            silent = recording.colour is not None
            wave = np.zeros(count, np.int16) if silent else rng.normal(0, 3000, count).astype(np.int16)
            packed = np.ascontiguousarray(np.repeat(wave, stream.layout.nb_channels)[None])
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=recording.layout)
            frame.sample_rate, frame.pts = recording.rate_hz, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

    return write


def write_originals(folder: Path, suffixes: Sequence[str] = tuple(RECORDINGS), *, seed: int = 0) -> dict[str, bytes]:
    """Return the bytes of one clip for each suffix, which are written into the folder."""
    return {
        suffix: write_recording(folder / f"original{suffix}", RECORDINGS[suffix], seed=seed).read_bytes()
        for suffix in suffixes
    }
