"""What tests share: media synthesised on the spot, clips of a manifest, embeddings."""

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from data_manifest.manifest import Clip

QUICK = settings(max_examples=40, deadline=None)  # a machine may be busy


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's memo and weights."""
    monkeypatch.setenv("FDAN_CACHE", str(tmp_path / "cache"))


def write_media(
    path: Path,
    *,
    frames: NDArray[np.uint8] | None = None,
    sound: NDArray[np.float32] | None = None,
    fps: int = 25,
    rate_hz: int = 16000,
) -> Path:
    """Write frames (n, height, width, 3) as H.264 and sound (samples,) in -1..1, as AAC or, in a WAV file, PCM."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        # A container's streams must all be there before the first packet.
        video = container.add_stream("libx264", rate=fps) if frames is not None else None
        codec = "pcm_s16le" if path.suffix == ".wav" else "aac"
        audio = container.add_stream(codec, rate=rate_hz, layout="mono") if sound is not None else None
        if video is not None and frames is not None:
            video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
            for frame in frames:
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(video.encode())
        if isinstance(audio, av.AudioStream) and sound is not None:
            samples = av.AudioFrame.from_ndarray((sound[None] * 32767).astype(np.int16), format="s16", layout="mono")
            samples.sample_rate = rate_hz
            container.mux(audio.encode(samples))
            container.mux(audio.encode())
    return path


@pytest.fixture
def grey_levels() -> NDArray[np.uint8]:
    """25 frames (25, 64, 64, 3); frame i is 10·i bright all over, so a frame tells its own number."""
    return np.broadcast_to(np.arange(25, dtype=np.uint8)[:, None, None, None] * 10, (25, 64, 64, 3)).copy()


def make_clip(clip_id: str, **changes: str | float) -> Clip:
    """Return a clip with sound and picture, named and filed by its id."""
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
        "sha256": clip_id,
    }
    return Clip(**(values | changes))  # type: ignore[arg-type]
