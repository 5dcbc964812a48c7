"""Whether a file ends before its own headers say that it does, from a few of its bytes and its size."""

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct

from pipeline.base.files import open_regular

MOST_PARTS = 1_000_000  # of a file; ten minutes of video have 50,000
RIFF_CHUNK = Struct("<4sI")
RIFF_HEADER = 12  # bytes before the first chunk
UNKNOWN = 0xFFFFFFFF  # a size that a program writes before it knows it, or if it is written elsewhere, as in RF64
BOX = Struct(">I4s")
LARGE_BOX = Struct(">Q")  # the size of a box whose first size is 1
FLV_TAG, FLV_TAIL = 11, 4  # bytes of a tag's header, and after its content
FLV_KINDS = {8, 9, 18}  # audio, video, script
MATROSKA = b"\x1a\x45\xdf\xa3"
SEGMENT = b"\x18\x53\x80\x67"  # of Matroska: it holds everything after the header


def is_cut_short(path: Path) -> bool:
    """Return whether a WAV, AVI, MP4, FLV or Matroska file lacks bytes that it announces; False for other files.

    Nothing is decoded, so neither damage within the file is noticed, nor a cut between two parts of an FLV file.
    """
    try:
        with open_regular(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            find_ends = _format_of(data[:RIFF_HEADER])
            return find_ends is not None and any(end > len(data) for end in islice(find_ends(data), MOST_PARTS))
    except (OSError, ValueError):  # it is empty or cannot be read, which others report
        return False


def _format_of(start: bytes) -> Callable[[mmap], Iterator[int]] | None:
    """Return the function that yields where each part of a file with this start ends; None if there is none."""
    if start[:4] in (b"RIFF", b"RF64"):
        return _riff_ends
    if start[:3] == b"FLV":
        return _flv_ends
    if start[4:8] == b"ftyp":
        return _mp4_ends
    return _matroska_ends if start[:4] == MATROSKA else None


def _riff_ends(data: mmap) -> Iterator[int]:
    position = RIFF_HEADER
    yield position
    _, size = RIFF_CHUNK.unpack_from(data, 0)
    if size != UNKNOWN:
        yield size  # without the 8 bytes of the header, which some programs count
    while position + RIFF_CHUNK.size <= len(data):
        name, size = RIFF_CHUNK.unpack_from(data, position)
        is_unknown = size == UNKNOWN or (name == b"data" and not size)
        if is_unknown or not (name.isascii() and name.decode().isprintable()):
            return
        yield position + RIFF_CHUNK.size + size
        position += RIFF_CHUNK.size + size + size % 2


def _mp4_ends(data: mmap) -> Iterator[int]:
    position, names = 0, set()
    while position < len(data):
        yield position + BOX.size
        size, name = BOX.unpack_from(data, position)
        names.add(name)
        if size == 0:  # the last box, up to the end of the file
            break
        if size == 1:
            yield position + BOX.size + LARGE_BOX.size
            (size,) = LARGE_BOX.unpack_from(data, position + BOX.size)
        if size < BOX.size:  # damaged otherwise
            return
        position += size
        yield position
    if b"moov" not in names:  # the description of the streams, which many programs write last
        yield sys.maxsize


def _flv_ends(data: mmap) -> Iterator[int]:
    position = int.from_bytes(data[5:9], "big") + FLV_TAIL
    while position < len(data) and data[position] in FLV_KINDS:
        yield position + FLV_TAG
        position += FLV_TAG + int.from_bytes(data[position + 1 : position + 4], "big")
        yield position
        position += FLV_TAIL


def _matroska_ends(data: mmap) -> Iterator[int]:
    header_bytes, start = _read_matroska_size(data, len(MATROSKA))
    segment = start + header_bytes
    if data[segment : segment + len(SEGMENT)] == SEGMENT:
        size, start = _read_matroska_size(data, segment + len(SEGMENT))
        yield start + size


def _read_matroska_size(data: mmap, position: int) -> tuple[int, int]:
    """Return a size, or 0 if it is unknown, and the position after it: its first bits say how many bytes it has."""
    first = data[position] if position < len(data) else 0
    length = 9 - first.bit_length()
    largest = (1 << 7 * length) - 1
    size = int.from_bytes(data[position : position + length], "big") & largest
    return (0 if size == largest else size), position + length
