"""Shared test helpers: synthesised media, manifest clips, and an isolated cache."""

import hashlib
import os
import random
import struct
import subprocess
import zlib
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from data_manifest.manifest.clips import Clip
from pipeline.base.provenance import ROOT
from pipeline.media.frames import SampledFrames

os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # a test that fills the disk could leave truncated bytecode
os.environ["COLUMNS"] = "300"  # keeps table rows on one line; set before the console is created
SHARED = Path(os.environ.get("FDAN_SHARED") or ROOT.parent / "shared")  # real labels, clips and weights, if available
SLOWEST = ["test_end_to_end.py", "test_processes.py", "test_documentation.py", "test_report.py", "test_backbones.py"]
QUICK = settings(max_examples=40, deadline=None)  # the machine may be busy


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fast`."""
    parser.addoption("--fast", action="store_true", help="leave out tests that start a process or build a network")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and make the other tests of a fast run fail if they are slow."""
    config.addinivalue_line("markers", "slow: starts a process or builds a network, and is left out of --fast")
    if config.getoption("--fast"):
        import torch  # a second that other runs may not need

        for kind, name in ((subprocess.Popen, "__init__"), (BaseProcess, "start"), (torch.nn.Conv2d, "__init__")):
            setattr(kind, name, _fail_in_tests(getattr(kind, name)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the slowest files first, so that no core waits for another at the end."""
    if config.getoption("--fast"):
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))


def _fail_in_tests(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function, which fails the test that calls it."""

    def checked(*args: Any, **kwargs: Any) -> None:
        if "PYTEST_CURRENT_TEST" in os.environ:
            pytest.fail("this test starts a process or builds a network: mark it with pytest.mark.slow")
        function(*args, **kwargs)

    return checked


@pytest.fixture(autouse=True)
def _isolated_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's memo and weights."""
    monkeypatch.setenv("FDAN_CACHE", str(tmp_path / "cache"))


CODECS = {
    ".avi": ("mpeg4", "pcm_s16le"),
    ".flac": ("", "flac"),
    ".flv": ("flv", "libmp3lame"),
    ".mp3": ("", "mp3"),
    ".wav": ("", "pcm_s16le"),
}


def write_media(
    path: Path,
    *,
    frames: NDArray[np.uint8] | None = None,
    sound: NDArray[np.float32] | None = None,
    fps: int = 25,
    rate_hz: int = 16000,
    layout: str = "mono",
) -> Path:
    """Write frames (n, height, width, 3) and audio ([channels,] samples) in -1..1, with codecs chosen by suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    video_codec, audio_codec = CODECS.get(path.suffix, ("libx264", "aac"))
    with av.open(str(path), "w") as container:
        # All streams must be added before the first packet.
        video = container.add_stream(video_codec, rate=fps) if frames is not None else None
        audio = container.add_stream(audio_codec, rate=rate_hz, layout=layout) if sound is not None else None
        if isinstance(video, av.VideoStream) and frames is not None:
            video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
            for frame in frames:
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(video.encode())
        if isinstance(audio, av.AudioStream) and sound is not None:
            channels = np.broadcast_to(sound, (audio.layout.nb_channels, sound.shape[-1]))
            packed = np.ascontiguousarray((channels.T * 32767).astype(np.int16).reshape(1, -1))
            samples = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
            samples.sample_rate = rate_hz
            container.mux(audio.encode(samples))
            container.mux(audio.encode())
    return path


def write_short_media(path: Path, *, video: bool = True, sound: bool = True, **options: Any) -> Path:
    """Write 0.2 s of media in the suffix's format, with different bytes for every path."""
    seed = zlib.crc32(str(path).encode())
    frames = np.random.default_rng(seed).integers(0, 256, (5, 32, 32, 3), np.uint8)
    rate_hz = options.setdefault("rate_hz", 48000 if path.suffix == ".wav" else 44100)
    tone = np.sin(np.arange(rate_hz // 5) * (0.01 + seed / 2**32 / 5)).astype(np.float32)
    has_video = video and path.suffix not in (".wav", ".mp3")
    return write_media(path, frames=frames if has_video else None, sound=tone if sound else None, **options)


def write_wav(
    path: Path, samples: bytes, *, kind: int = 1, bits: int = 16, rate_hz: int = 16000, more: bytes = b""
) -> Path:
    """Write a mono WAV file with any header; `kind` is 1 for integers and 3 for floats, `more` are further chunks."""
    head = struct.pack("<HHIIHH", kind, 1, rate_hz, rate_hz * bits // 8, max(1, bits // 8), bits)
    body = b"WAVEfmt \x10\0\0\0" + head + b"data" + struct.pack("<I", len(samples)) + samples + more
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def read_frames(path: Path, *, count: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the frames (n, height, width, 3) in order of time, and their times (n,)."""
    frames = SampledFrames(path, count=count)
    images = dict(frames)
    indices = sorted(images)
    return np.stack([images[index] for index in indices]), frames.times[indices]


@pytest.fixture
def grey_levels() -> NDArray[np.uint8]:
    """Return 25 frames (25, 64, 64, 3); every value of frame i is 10·i, which identifies the frame."""
    return np.broadcast_to(np.arange(25, dtype=np.uint8)[:, None, None, None] * 10, (25, 64, 64, 3)).copy()


def make_clip(clip_id: str, **changes: str | float) -> Clip:
    """Return a clip with video and audio whose path and checksum are made from its id."""
    values: dict[str, str | float] = {
        "clip_id": clip_id,
        "corpus": "test",
        "path": f"{clip_id}.mp4",
        "audio_path": "",
        "speaker": "test/s1",
        "emotion": "anger",
        "split": "",
        "sentence": "",
        "modalities": "visual+acoustic",
        "duration_s": 1.0,
        "sha256": hashlib.sha256(clip_id.encode()).hexdigest(),
    }
    return Clip(**(values | changes))  # type: ignore[arg-type]


def assert_one_line(message: str) -> None:
    """Check that an error's message is one line of harmless characters, and not endless."""
    assert message.isprintable()
    assert 0 < len(message) < 1000


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Return the content with some bytes flipped, overwritten, cut out, repeated, or exchanged with others."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 3])):
        start, length = draw.randrange(len(data)), draw.choice([1, 2, 4, 8, 64, 1000])
        other = draw.randrange(len(data))
        part = bytes(data[start : start + length])
        data[start : start + length] = draw.choice(
            [
                bytes([it ^ 1 << draw.randrange(8) for it in part]),
                draw.choice([b"\0", b"\xff", b"\x7f"]) * len(part),
                b"",
                part * 2,
                bytes(data[other : other + len(part)]),
            ]
        )
    return bytes(data)
