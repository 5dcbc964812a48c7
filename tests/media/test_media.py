"""Reading media: the right frames at the right times, the right sound, and a reason if there is none."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import read_frames, write_media, write_wav
from numpy.typing import NDArray

from pipeline.base.errors import ClipError
from pipeline.media._promises import Promise
from pipeline.media.audio import Channels, read_audio
from pipeline.media.frames import SampledFrames, decode_jpeg, encode_jpeg
from pipeline.media.probe import probe

CHOICES: tuple[Channels, ...] = ("first", "center")


def sine(*, hertz: float, seconds: float, rate_hz: int) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def test_probe_returns_what_the_file_contains(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels, sound=sine(hertz=440, seconds=1, rate_hz=16000))
    info = probe(path)
    assert (info.frames, info.width_px, info.height_px) == (25, 64, 64)
    assert (info.rate_hz, info.channels) == (16000, 1)
    assert info.duration_s == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_missing_modality_is_detected(tmp_path: Path, grey_levels: NDArray[np.uint8], kind: str) -> None:
    sound = sine(hertz=440, seconds=1, rate_hz=16000)
    path = (
        write_media(tmp_path / "a.mp4", frames=grey_levels)
        if kind == "video"
        else write_media(tmp_path / "a.wav", sound=sound)
    )
    assert (probe(path).has_video, probe(path).has_audio) == (kind == "video", kind == "audio")


def test_frames_come_from_the_middles_of_equal_parts(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels)
    frames, times = read_frames(path, count=5)
    # Frames 2, 7, 12, … are the middles of five parts of five frames; H.264 may change a grey level by one or two.
    numbers = frames.mean((1, 2, 3)) / 10
    np.testing.assert_allclose(numbers, [2, 7, 12, 17, 22], atol=0.4)
    np.testing.assert_allclose(times, np.array([2, 7, 12, 17, 22]) / 25, atol=1e-6)


def test_clip_with_too_few_frames_gives_each_frame_once(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    frames, times = read_frames(write_media(tmp_path / "a.mp4", frames=grey_levels[:3]), count=16)
    assert len(frames) == len(times) == 3
    assert (np.diff(times) > 0).all()


def test_frames_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((5, 64, 64, 3), np.uint8)
    red[..., 0] = 250
    frames, _ = read_frames(write_media(tmp_path / "a.mp4", frames=red), count=1)
    assert frames[..., 0].mean() > 200 > 60 > frames[..., 2].mean()


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_sound_keeps_its_pitch_and_length_at_any_rate(tmp_path: Path, rate_hz: int) -> None:
    path = write_media(tmp_path / "a.wav", sound=sine(hertz=440, seconds=1, rate_hz=rate_hz), rate_hz=rate_hz)
    sound = read_audio(path, rate_hz=16000)
    assert len(sound) == pytest.approx(16000, abs=64)
    spectrum = np.abs(np.fft.rfft(sound[:16000], 16000))
    assert spectrum.argmax() == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(sound[1000:-1000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_damaged_file_raises_a_clip_error(tmp_path: Path, grey_levels: NDArray[np.uint8], damage: str) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels)
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"version https://git-lfs", "cut": content[: len(content) // 2]}[damage])
    for read in (probe, lambda path: read_frames(path, count=4), lambda path: read_audio(path, rate_hz=16000)):
        with pytest.raises(ClipError, match=r"cannot be decoded"):
            read(path)


def test_reading_sound_of_a_silent_video_raises_a_clip_error(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels)
    with pytest.raises(ClipError, match="no audio"):
        read_audio(path, rate_hz=16000)


def test_jpeg_encoding_keeps_the_image() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(128)), -1)
    decoded = decode_jpeg(encode_jpeg(image))
    assert np.abs(decoded.astype(int) - image).mean() < 2


def set_rotation(path: Path, degrees: int) -> Path:
    """Write the matrix into an MP4 file that makes players rotate the picture clockwise, as phones do."""
    one = 1 << 16
    matrix = {90: (0, one, 0, -one, 0, 0, 0, 0, 1 << 30), 180: (-one, 0, 0, 0, -one, 0, 0, 0, 1 << 30)}[degrees]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44  # after the type, flags, times, ids and volume
    data[start : start + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("degrees", [90, 180])
def test_rotated_video_is_read_upright(tmp_path: Path, degrees: int) -> None:
    upright = np.zeros((96, 64, 3), np.uint8)  # bright at the top left
    upright[:32, :32] = 250
    stored = np.rot90(upright, degrees // 90)  # a clockwise rotation restores `upright`
    path = set_rotation(write_media(tmp_path / "a.mp4", frames=np.stack([stored] * 3)), degrees)
    frames, _ = read_frames(path, count=1)
    assert frames.shape[1:] == (96, 64, 3)
    assert frames[0, 4:28, 4:28].min() > 200
    assert frames[0, 40:].max() < 50


def write_lossless(
    path: Path, codec: str, pixels: str, frames: NDArray[np.uint8], times: list[int] | None = None
) -> Path:
    """Write frames losslessly in any pixel format; `times` are the presentation times in 1/25 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = times[number] if times else number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("pixels", ["gray", "yuv420p10le", "yuv444p", "bgr0"])
def test_any_pixel_format_is_read_as_rgb(tmp_path: Path, grey_levels: NDArray[np.uint8], pixels: str) -> None:
    frames, _ = read_frames(write_lossless(tmp_path / "a.mkv", "ffv1", pixels, grey_levels), count=5)
    np.testing.assert_allclose(frames.mean((1, 2, 3)) / 10, [2, 7, 12, 17, 22], atol=0.3)


def test_frames_of_a_variable_rate_are_chosen_by_time(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    # Twenty frames in the first 0.8 s, then five frames in four seconds.
    times = [*range(20), *range(20, 120, 20)]
    path = write_lossless(tmp_path / "a.mkv", "ffv1", "yuv444p", grey_levels, times)
    frames, seconds = read_frames(path, count=4)
    shown = [times[round(level)] / 25 for level in frames.mean((1, 2, 3)) / 10]
    np.testing.assert_allclose(seconds, shown, atol=0.002)  # Matroska counts milliseconds
    middles = (np.arange(4) + 0.5) / 4 * 4.0
    assert np.abs(seconds - middles).max() <= 0.42  # no frame is nearer


@pytest.mark.parametrize("side", [1, 2, 8])
def test_tiny_video_can_be_read(tmp_path: Path, side: int) -> None:
    path = write_lossless(tmp_path / "a.mkv", "ffv1", "gray", np.full((3, side, side, 3), 99, np.uint8))
    frames, _ = read_frames(path, count=2)
    assert frames.shape == (2, side, side, 3)
    assert probe(path).width_px == side


def test_video_and_sound_may_end_at_different_times(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels[:5], sound=sine(hertz=440, seconds=2, rate_hz=16000))
    _, times = read_frames(path, count=4)
    assert times.max() < 0.2
    assert len(read_audio(path, rate_hz=16000)) == pytest.approx(32000, abs=2100)
    assert probe(path).duration_s == pytest.approx(2, abs=0.15)
    path = write_media(tmp_path / "b.mp4", frames=grey_levels, sound=sine(hertz=440, seconds=0.2, rate_hz=16000))
    assert len(read_frames(path, count=16)[0]) == 16
    assert probe(path).duration_s == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("codec", ["pcm_s24le", "pcm_f32le", "pcm_u8", "pcm_s32le"])
@pytest.mark.parametrize("rate_hz", [8000, 192000])
def test_any_sample_format_and_rate_keeps_pitch_and_level(tmp_path: Path, codec: str, rate_hz: int) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        packed = sine(hertz=440, seconds=1, rate_hz=rate_hz)[None]
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="mono")
        frame.sample_rate = rate_hz
        container.mux([*stream.encode(frame), *stream.encode()])
    sound = read_audio(path, rate_hz=16000)
    spectrum = np.abs(np.fft.rfft(sound[:16000], 16000))
    assert spectrum.argmax() == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(sound[1000:-1000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_channel_of_surround_sound_can_be_chosen(tmp_path: Path) -> None:
    channels = np.stack([sine(hertz=100 * (number + 2), seconds=1, rate_hz=16000) for number in range(6)])
    path = write_media(tmp_path / "a.wav", sound=channels, layout="5.1")
    assert probe(path).channels == 6
    pitch = {
        wanted: np.abs(np.fft.rfft(read_audio(path, rate_hz=16000, channels=wanted)[:16000], 16000)).argmax()
        for wanted in CHOICES
    }
    assert pitch == {"first": 200, "center": 400}  # the order is front left, front right, centre


def test_clipped_sound_stays_finite_and_short_sound_is_kept(tmp_path: Path) -> None:
    loud = write_media(tmp_path / "a.wav", sound=np.sign(sine(hertz=440, seconds=1, rate_hz=16000)))
    sound = read_audio(loud, rate_hz=8000)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() < 1.5  # a resampler overshoots at the edges of a square
    short = write_media(tmp_path / "b.wav", sound=sine(hertz=440, seconds=0.02, rate_hz=16000))
    assert len(read_audio(short, rate_hz=16000)) == 320


@pytest.mark.parametrize("share", [0.5, 0.6, 0.75])  # wherever the cut is: in a packet of video or audio
@pytest.mark.parametrize("suffix", [".avi", ".flac", ".flv", ".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".wav"])
def test_probe_records_the_length_that_the_header_announces(suffix: str, share: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = None if suffix in (".flac", ".m4a", ".mp3", ".wav") else rng.integers(0, 256, (75, 32, 32, 3), np.uint8)
    noise = rng.uniform(-0.5, 0.5, 3 * 44100).astype(np.float32)
    path = write_media(tmp_path / f"a{suffix}", frames=frames, sound=noise, rate_hz=44100)
    whole = probe(path)
    assert whole.promised_s == pytest.approx(3, abs=0.15)
    assert whole.decoded_s == pytest.approx(whole.promised_s, abs=0.1)
    if suffix in (".m4a", ".mov", ".mp4"):
        path = _with_index_first(path)
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    cut = probe(path)
    assert cut.promised_s == pytest.approx(whole.promised_s, abs=0.1)
    assert cut.decoded_s < (share + 0.15) * cut.promised_s
    if frames is None or suffix in (".mov", ".mp4"):
        assert cut.decoded_s > 1
    if cut.has_audio:
        assert len(read_audio(path, rate_hz=16000)) > 1000
    if cut.has_video:
        assert list(SampledFrames(path, count=4))


@pytest.mark.parametrize(
    ("promise", "decoded", "least"),
    [
        (Promise(video_s=6.28, video_frames=157, audio_s=6.3), (4.4, 110, 6.3), (4.4, 6.28)),
        (Promise(video_s=6.28, video_frames=157, audio_s=6.3), (6.28, 157, 0.0), (0.0, 6.3)),
        (Promise(video_s=9.0, video_frames=100), (4.0, 100, 0.0), (4.0, 4.0)),  # its last frame is shown for 5 s
        (Promise(file_s=6.0), (4.0, 100, 6.0), (6.0, 6.0)),  # its picture may be shorter than its sound
        (Promise(), (4.0, 100, 6.0), (0.0, 0.0)),
    ],
)
def test_a_file_lacks_as_much_as_the_stream_that_lacks_most(
    promise: Promise, decoded: tuple[float, int, float], least: tuple[float, float]
) -> None:
    video_s, frames, audio_s = decoded
    assert promise.least_kept(video_s=video_s, frames=frames, audio_s=audio_s) == least


def test_a_file_that_lacks_its_index_is_said_to_be_cut_short(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", sound=sine(hertz=440, seconds=1, rate_hz=44100), rate_hz=44100)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ClipError, match=r"^cannot be decoded: .*; it is cut short$"):
        probe(path)


def test_damage_before_the_last_packet_is_an_error(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux() if packet.pos]
    content = bytearray(path.read_bytes())
    for position, size in (packets[12], packets[-1]):  # a last packet that is there in full is no cut, either
        damaged = content.copy()
        damaged[position : position + size] = b"\xff" * size
        path.write_bytes(damaged)
        with pytest.raises(ClipError, match=r"^cannot be decoded: "):
            probe(path)


def _with_index_first(path: Path) -> Path:
    """Return a copy of an MP4 file that can be read although its end is missing."""
    target = path.with_stem("index_first")
    with av.open(str(path)) as source, av.open(str(target), "w", options={"movflags": "faststart"}) as copy:
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    return target


@pytest.mark.parametrize("announced", [0, 0xFFFFFFFF])
def test_a_length_that_was_never_filled_in_promises_nothing(announced: int, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", bytes(range(256)) * 100)
    content = path.read_bytes()
    position = content.index(b"data") + 4
    path.write_bytes(content[:position] + struct.pack("<I", announced) + content[position + 4 :])
    assert probe(path).promised_s == 0
