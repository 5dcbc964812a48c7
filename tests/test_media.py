"""Reading media: the right frames at the right times, the right sound, and a reason where there is none."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_media
from numpy.typing import NDArray

from pipeline.errors import ClipError
from pipeline.media import decode_jpeg, encode_jpeg, probe, read_audio, read_frames


def tone(*, hertz: float, seconds: float, rate_hz: int) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def test_probing_tells_what_decoding_finds(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels, sound=tone(hertz=440, seconds=1, rate_hz=16000))
    info = probe(path)
    assert (info.frames, info.width_px, info.height_px) == (25, 64, 64)
    assert (info.rate_hz, info.channels) == (16000, 1)
    assert info.duration_s == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", ["sound", "picture"])
def test_a_missing_modality_is_seen(tmp_path: Path, grey_levels: NDArray[np.uint8], kind: str) -> None:
    sound = tone(hertz=440, seconds=1, rate_hz=16000)
    path = (
        write_media(tmp_path / "a.mp4", frames=grey_levels)
        if kind == "picture"
        else write_media(tmp_path / "a.wav", sound=sound)
    )
    assert (probe(path).has_video, probe(path).has_audio) == (kind == "picture", kind == "sound")


def test_frames_are_taken_from_the_middles_of_equal_parts(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels)
    frames, times = read_frames(path, count=5)
    # Five parts of five frames: 2, 7, 12, … are their middles; H.264 may be off by a level or two.
    numbers = frames.mean((1, 2, 3)) / 10
    np.testing.assert_allclose(numbers, [2, 7, 12, 17, 22], atol=0.4)
    np.testing.assert_allclose(times, np.array([2, 7, 12, 17, 22]) / 25, atol=1e-6)


def test_a_clip_with_fewer_frames_than_asked_gives_each_once(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    frames, times = read_frames(write_media(tmp_path / "a.mp4", frames=grey_levels[:3]), count=16)
    assert len(frames) == len(times) == 3
    assert (np.diff(times) > 0).all()


def test_colours_come_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((5, 64, 64, 3), np.uint8)
    red[..., 0] = 250
    frames, _ = read_frames(write_media(tmp_path / "a.mp4", frames=red), count=1)
    assert frames[..., 0].mean() > 200 > 60 > frames[..., 2].mean()


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_sound_keeps_its_pitch_and_length_at_any_rate(tmp_path: Path, rate_hz: int) -> None:
    path = write_media(tmp_path / "a.wav", sound=tone(hertz=440, seconds=1, rate_hz=rate_hz), rate_hz=rate_hz)
    sound = read_audio(path, rate_hz=16000)
    assert len(sound) == pytest.approx(16000, abs=64)
    spectrum = np.abs(np.fft.rfft(sound[:16000], 16000))
    assert spectrum.argmax() == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(sound[1000:-1000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_file_is_a_reasoned_failure(tmp_path: Path, grey_levels: NDArray[np.uint8], damage: str) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"version https://git-lfs", "cut": whole[: len(whole) // 2]}[damage])
    for read in (probe, lambda path: read_frames(path, count=4), lambda path: read_audio(path, rate_hz=16000)):
        with pytest.raises(ClipError, match=r"cannot be decoded"):
            read(path)


def test_asking_a_silent_film_for_its_sound_is_a_reasoned_failure(
    tmp_path: Path, grey_levels: NDArray[np.uint8]
) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels)
    with pytest.raises(ClipError, match="no audio"):
        read_audio(path, rate_hz=16000)


def test_a_crop_survives_its_encoding() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(128)), -1)
    again = decode_jpeg(encode_jpeg(image))
    assert np.abs(again.astype(int) - image).mean() < 2
