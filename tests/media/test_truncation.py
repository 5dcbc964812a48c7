"""Files that were cut short are recognised by their headers, and whole files never are."""

import random
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import SHARED, mutate, write_short_media, write_wav

from pipeline.media.truncation import is_cut_short

SUFFIXES = [".wav", ".avi", ".mp4", ".mov", ".flv", ".mkv", ".webm"]


def write_whole(path: Path) -> Path:
    if path.suffix != ".webm":
        return write_short_media(path)
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whole_file_is_not_cut_short_and_any_long_cut_is_noticed(suffix: str, tmp_path: Path) -> None:
    path = write_whole(tmp_path / f"a{suffix}")
    content = path.read_bytes()
    assert not is_cut_short(path)
    for share in (0.98, 0.9, 0.5, 0.2):
        path.write_bytes(content[: round(share * len(content)) | 1])
        assert is_cut_short(path), share


def test_wav_with_padding_or_an_unknown_length_is_whole(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", b"12345", more=b"\0")
    content = path.read_bytes()
    assert not is_cut_short(path)
    path.write_bytes(content[:-1])  # many programs omit the byte of padding
    assert not is_cut_short(path)
    for size in (0, 0xFFFFFFFF):  # of a program that writes to a pipe
        data = content.index(b"data") + 4
        path.write_bytes(content[:data] + struct.pack("<I", size) + b"\x09" * 1000)
        assert not is_cut_short(path)
    path.write_bytes(content[:4] + struct.pack("<I", len(content)) + content[8:])  # the header is counted in its size
    assert not is_cut_short(path)


def test_wav_cut_between_its_chunks_is_noticed(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", b"1234", more=b"LIST" + struct.pack("<I", 20) + b"x" * 20)
    path.write_bytes(path.read_bytes()[:-28])
    assert is_cut_short(path)


def test_mp4_without_the_description_of_its_streams_is_cut_short(tmp_path: Path) -> None:
    content = write_short_media(tmp_path / "a.mp4").read_bytes()
    for end in (content.index(b"moov") - 4, content.index(b"moov") - 2):
        (tmp_path / "a.mp4").write_bytes(content[:end])
        assert is_cut_short(tmp_path / "a.mp4")


def test_large_mp4_boxes_are_measured_by_their_own_size(tmp_path: Path) -> None:
    start = struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", 8, b"moov")
    for size, is_cut in ((24, False), (25, True)):
        (tmp_path / "a.mp4").write_bytes(start + struct.pack(">I4sQ", 1, b"mdat", size) + b"12345678")
        assert is_cut_short(tmp_path / "a.mp4") == is_cut
    (tmp_path / "a.mp4").write_bytes(start + struct.pack(">I4s", 0, b"mdat") + b"up to the end")
    assert not is_cut_short(tmp_path / "a.mp4")


@pytest.mark.parametrize("content", [b"", b"FLV", b"\x1a\x45\xdf\xa3", b"ID3 and so on" * 10])
def test_other_files_are_not_called_cut_short(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    assert not is_cut_short(tmp_path / "a")
    assert not is_cut_short(tmp_path / "missing")
    assert not is_cut_short(tmp_path)


@pytest.mark.parametrize("content", [b"RIFF", b"RIFF\x99\0\0\0WAVE", b"\0\0\0\x18ftypisom"])
def test_file_of_a_header_alone_is_cut_short(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    assert is_cut_short(tmp_path / "a")


def test_damaged_headers_raise_nothing_and_take_no_time(tmp_path: Path) -> None:
    draw = random.Random(1)
    for suffix in (".wav", ".avi", ".mp4", ".flv", ".mkv"):
        content = write_short_media(tmp_path / f"a{suffix}").read_bytes()
        for _ in range(60):
            (tmp_path / "b").write_bytes(content[:12] + mutate(content[12:], draw))
            is_cut_short(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"RIFF\0\0\0\0WAVE" + b"JUNK\0\0\0\0" * 1_500_000)
    assert not is_cut_short(tmp_path / "b")  # in less than a second: parts are counted


def test_real_clips_are_whole() -> None:
    clips = sorted((SHARED / "clips").glob("*.flv"))
    if not clips:
        pytest.skip(f"{SHARED / 'clips'} holds no real clips")
    assert not [clip for clip in clips if is_cut_short(clip)]
