"""Limits of media: what is counted while decoding, and the memory that frames take."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import CODECS, write_media, write_short_media, write_wav
from numpy.typing import NDArray

from pipeline.base.errors import ClipError, StoreError
from pipeline.media import _decoding, frames
from pipeline.media._opening import open_media
from pipeline.media.audio import read_audio
from pipeline.media.frames import SampledFrames
from pipeline.media.limits import Limits
from pipeline.media.probe import probe
from pipeline.parallel.pool import ExecutionConfig


def test_limits_are_those_of_the_run() -> None:
    assert Limits() == Limits.of(ExecutionConfig())
    assert Limits.of(ExecutionConfig(max_pixels=300, max_decoded_s=2)) == Limits(max_pixels=300, max_decoded_s=2)


@pytest.mark.parametrize("suffix", [".mp4", ".flv", ".ts", ".avi"])
def test_larger_pictures_than_the_limit_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write_short_media(tmp_path / f"a{suffix}", sound=False)  # 32 x 32
    assert probe(path, limits=Limits(max_pixels=1024)).width_px == 32
    limits = Limits(max_pixels=1023)
    for read in (lambda: probe(path, limits=limits), lambda: dict(SampledFrames(path, count=1, limits=limits))):
        with pytest.raises(
            ClipError, match=r"^its picture of 32 x 32 pixels is larger than run\.max_pixels = 1023 allows$"
        ):
            read()


def test_a_header_that_announces_a_small_picture_is_not_believed(tmp_path: Path) -> None:
    path = write_short_media(tmp_path / "a.avi", sound=False)
    size = struct.pack("<ii", 32, 32)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<ii", 8, 8)))
    for max_pixels in (300, 1023):  # refused by the decoder, and by the count
        with pytest.raises(ClipError, match=r"max_pixels|cannot be decoded"):
            probe(path, limits=Limits(max_pixels=max_pixels))


def test_no_large_picture_is_decoded_while_a_file_is_opened(tmp_path: Path) -> None:
    path = write_short_media(tmp_path / "a.flv", sound=False)
    with open_media(path, Limits()) as container:
        assert container.streams.video[0].codec_context.pix_fmt is None  # known once a frame has been decoded


def test_more_seconds_than_the_limit_are_refused(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    film = write_media(tmp_path / "a.mp4", frames=grey_levels)
    song = write_wav(tmp_path / "a.wav", bytes(32000))
    enough, limits = Limits(max_decoded_s=1.1), Limits(max_decoded_s=0.5)
    readers = (
        lambda limits: probe(film, limits=limits),
        lambda limits: SampledFrames(film, count=1, limits=limits),
        lambda limits: probe(song, limits=limits),
        lambda limits: read_audio(song, rate_hz=8000, limits=limits),
    )
    for read in readers:
        read(enough)
        with pytest.raises(ClipError, match=r"^lasts longer than run\.max_decoded_s = 0\.5 s allows$"):
            read(limits)


def test_seconds_are_counted_and_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conftest.CODECS", CODECS | {".flac": ("", "flac")})
    path = write_media(tmp_path / "a.flac", sound=np.zeros(48000, np.float32))
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the header's number of samples, 36 bits long
    data[22:26] = struct.pack(">I", 160)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(10_000)  # of 3 s it announces 0.01 s
    for read in (
        lambda limits: probe(path, limits=limits),
        lambda limits: read_audio(path, rate_hz=8000, limits=limits),
    ):
        with pytest.raises(ClipError, match="lasts longer than"):
            read(Limits(max_decoded_s=2))


def test_a_silly_rate_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", bytes(32000), rate_hz=2_000_000_000)
    with pytest.raises(ClipError, match=r"^its audio has a rate of 2000000000 Hz, not one of 1 to 768000 Hz$"):
        probe(path)
    path = write_wav(tmp_path / "b.wav", bytes(32000), rate_hz=1)
    with pytest.raises(ClipError, match="lasts longer than"):
        probe(path)


def test_packets_without_end_are_ended(
    tmp_path: Path, grey_levels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels)
    monkeypatch.setattr(_decoding, "MAX_PACKETS_PER_S", 25)
    assert probe(path, limits=Limits(max_decoded_s=1)).frames == 25
    monkeypatch.setattr(_decoding, "MAX_PACKETS_PER_S", 24)
    for read in (probe, lambda path, limits: SampledFrames(path, count=1, limits=limits)):
        with pytest.raises(ClipError, match=r"^holds more than 24 packets, as many as run\.max_decoded_s allows$"):
            read(path, limits=Limits(max_decoded_s=1))


def test_frames_beyond_the_budget_are_decoded_again_and_are_the_same(
    tmp_path: Path, grey_levels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_media(tmp_path / "a.mp4", frames=grey_levels)
    decoded: list[int] = []
    convert = frames._to_upright_rgb

    def counted(frame: av.VideoFrame) -> NDArray[np.uint8]:
        decoded.append(frame.pts or 0)
        return convert(frame)

    monkeypatch.setattr(frames, "_to_upright_rgb", counted)
    kept = SampledFrames(path, count=5)
    first = list(kept)
    assert all(one[1] is other[1] for one, other in zip(first, kept, strict=True))
    assert len(decoded) == 5
    monkeypatch.setattr(frames, "KEPT_BYTES", 5 * first[0][1].nbytes - 1)
    large = SampledFrames(path, count=5)
    for again in (list(large), list(large)):
        for (index, image), (same_index, same_image) in zip(first, again, strict=True):
            assert index == same_index
            np.testing.assert_array_equal(image, same_image)
    assert len(decoded) == 15


def test_frames_out_of_order_belong_to_their_times(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.avi"  # this container holds no presentation times
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "3", "b-adapt": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 64, "yuv420p", Fraction(1, 25)
        for image in grey_levels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    sampled = SampledFrames(path, count=25)
    order = [index for index, _ in sampled]
    assert sorted(order) == list(range(len(sampled.times)))
    assert (np.diff(sampled.times) > 0).all()
    assert order == [index for index, _ in sampled]


def test_pictures_whose_texts_unpack_to_any_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    ok, png = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))
    assert ok
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        packet = av.Packet(png.tobytes())
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        container.mux(packet)
    with pytest.raises(ClipError, match="its video cannot be decoded: the codec png is not allowed"):
        probe(path)


def test_lists_within_lists_are_not_looked_at_without_end(tmp_path: Path) -> None:
    lists = (b"LIST" + struct.pack("<I", 2**31 - 1) + b"INFO" + b"JUNK" + struct.pack("<I", 12)) * 2000
    with pytest.raises(ClipError, match="it has more than 100000 tags"):
        probe(write_wav(tmp_path / "a.wav", lists + bytes(24), rate_hz=16000, bits=16))


def test_only_small_jpeg_files_are_crops() -> None:
    for suffix, side in ((".png", 64), (".jpg", 2049)):
        _, data = cv2.imencode(suffix, np.zeros((side, side, 3), np.uint8))
        with pytest.raises(StoreError, match="a stored crop is not a valid image"):
            frames.decode_jpeg(np.asarray(data, np.uint8).reshape(-1))
