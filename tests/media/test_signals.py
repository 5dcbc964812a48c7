"""While a file is probed, its loudness and whether it shows anything are measured on the frames as they come."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_media, write_wav
from numpy.typing import NDArray

from pipeline.media import _signals
from pipeline.media.audio import read_audio
from pipeline.media.frames import ONE_COLOUR, is_one_colour
from pipeline.media.loudness import loudest_second_dbfs
from pipeline.media.probe import MediaInfo, probe

RATE_HZ = 16000
TIMES = np.arange(3 * RATE_HZ) / RATE_HZ
TONE = np.sin(TIMES * 2 * np.pi * 440).astype(np.float32)
LATE = (TONE * (0.01 + 0.5 * (TIMES > 1.7))).astype(np.float32)  # loud for its last 1.3 seconds


def pcm(sound: NDArray[np.float32], bits: int) -> bytes:
    """Return samples in -1..1 as integers of a WAV file, which have an offset if they have 8 bits."""
    if bits == 8:
        return np.round(sound * 127 + 128).astype(np.uint8).tobytes()
    values = np.round(sound * (2 ** (bits - 1) - 1)).astype("<i4")
    return values.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("sound", [0.5 * TONE, LATE, 0.1 * TONE[: RATE_HZ // 3]], ids=["even", "late", "short"])
def test_loudness_is_that_of_the_sound_in_a_spectrogram(bits: int, sound: NDArray[np.float32], tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", pcm(sound, bits), bits=bits)
    expected = loudest_second_dbfs(read_audio(path, rate_hz=RATE_HZ), RATE_HZ)
    assert probe(path).loudest_dbfs == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".flv", ".mkv", ".mp3", ".wav"])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_loudness_is_measured_in_every_format(suffix: str, layout: str, tmp_path: Path) -> None:
    path = write_media(tmp_path / f"a{suffix}", sound=0.5 * TONE, rate_hz=44100, layout=layout)
    expected = loudest_second_dbfs(read_audio(path, rate_hz=RATE_HZ), RATE_HZ)
    assert probe(path).loudest_dbfs == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("samples", "bits", "kind"),
    [
        (np.zeros(RATE_HZ, "<i2").tobytes(), 16, 1),
        (np.full(RATE_HZ, 20000, "<i2").tobytes(), 16, 1),  # a constant cannot be heard
        (bytes([128]) * RATE_HZ, 8, 1),
        (np.full(RATE_HZ, 0.3, "<f4").tobytes(), 32, 3),
        (b"\0\0", 16, 1),
    ],
)
def test_silence_of_any_kind_is_below_every_threshold(samples: bytes, bits: int, kind: int, tmp_path: Path) -> None:
    assert probe(write_wav(tmp_path / "a.wav", samples, bits=bits, kind=kind)).loudest_dbfs < -130


def test_channels_that_cancel_each_other_are_silent(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", sound=np.stack([TONE, -TONE]), layout="stereo")
    assert probe(path).loudest_dbfs == pytest.approx(-200, abs=60)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_samples_that_are_no_sound_do_not_end_the_probe(value: float, tmp_path: Path) -> None:
    samples = np.full(2 * RATE_HZ, 0.1, "<f4")
    samples[100] = value
    info = probe(write_wav(tmp_path / "a.wav", samples.tobytes(), bits=32, kind=3))
    assert info.samples == 2 * RATE_HZ
    assert np.isnan(info.loudest_dbfs) or info.loudest_dbfs > 0
    assert MediaInfo.from_arrays(info.as_arrays()).samples == info.samples


def test_frames_that_cannot_be_converted_do_not_end_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("Conversion to numpy array with this format is not supported")

    path = write_media(tmp_path / "a.mkv", frames=picture("even"), sound=TONE)
    monkeypatch.setattr(_signals, "is_one_colour", fail)
    monkeypatch.setattr(_signals.LoudnessMeter, "_read", fail)
    info = probe(path)
    assert (info.has_video, info.has_audio, info.one_colour) == (True, True, 0)
    assert np.isnan(info.loudest_dbfs)


def picture(kind: str) -> NDArray[np.uint8]:
    """Return 5 frames (5, 96, 96, 3)."""
    frames = np.full((5, 96, 96, 3), (90, 40, 150), np.uint8)
    if kind == "noisy":
        frames += np.random.default_rng(0).integers(0, 3, frames.shape, np.uint8)
    if kind == "changing":
        frames += np.arange(5, dtype=np.uint8)[:, None, None, None] * 20
    if kind == "varied late":
        frames[3:, :48] = 220
    if kind == "textured":
        frames[:, ::2] += 60
    return frames


@pytest.mark.parametrize(
    ("kind", "is_plain"),
    [("even", True), ("noisy", True), ("changing", True), ("varied late", False), ("textured", False)],
)
def test_a_picture_of_one_colour_is_recognised(kind: str, is_plain: bool, tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", frames=picture(kind))
    assert probe(path).one_colour == is_plain
    assert probe(path).loudest_dbfs == -200  # there is no sound


def test_a_file_without_video_shows_no_colour(tmp_path: Path) -> None:
    assert probe(write_media(tmp_path / "a.wav", sound=TONE)).one_colour == 0


@pytest.mark.parametrize(("span", "expected"), [(ONE_COLOUR, True), (ONE_COLOUR + 1, False)])
def test_frames_are_one_colour_if_no_channel_of_any_frame_varies_by_more_than_noise(span: int, expected: bool) -> None:
    frames = np.full((3, 5, 7, 3), (10, 120, 240), np.uint8)  # channels differ, which is no variation
    frames[1] += 60
    assert is_one_colour(frames)
    for row, column, channel in ((0, 0, 2), (4, 3, 0), (2, 6, 1)):
        varied = frames.copy()
        varied[2, row, column, channel] -= span
        assert is_one_colour(varied) == expected
