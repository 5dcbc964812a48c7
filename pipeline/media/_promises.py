"""How long a file says that it is: a file that was cut short is shorter."""

import mmap
from collections.abc import Sequence
from pathlib import Path
from struct import Struct, error

import av
from av.container import InputContainer

# Containers whose header holds a length. FFmpeg takes other lengths from the size of the file, or guesses them.
WITH_LENGTH = {"flac", "flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"}
MP3_COUNTS = (b"Xing", b"Info", b"VBRI")  # one of them begins the part of an MP3 file that holds its length
MP3_START = 4096  # bytes
UNKNOWN = (0, 0xFFFFFFFF)  # lengths that a program writes before it knows them
CHUNK = Struct("<4sI")
FORMAT = Struct("<HHIIHH")  # of WAV: kind, channels, rate, bytes a second, bytes a sample, bits
AVI_HEADER = Struct("<5I")  # of AVI: microseconds a frame, three others, number of frames


def promised_seconds(
    path: Path, container: InputContainer, streams: Sequence[av.VideoStream | av.AudioStream]
) -> float:
    """Return the length that the header of an open file announces for the streams, or 0 if it announces none."""
    name = container.format.name
    if name in ("avi", "wav"):
        return _riff_seconds(path)
    if name == "mp3":
        with path.open("rb") as file:
            start = file.read(MP3_START)
        if not any(it in start for it in MP3_COUNTS):
            return 0.0
    elif name not in WITH_LENGTH:
        return 0.0
    lengths = [float(it.duration * it.time_base) for it in streams if it.duration and it.time_base]
    return max(lengths) if lengths else (container.duration or 0) / av.time_base


def _riff_seconds(path: Path) -> float:
    """Return the length that a WAV or AVI file announces; FFmpeg corrects it by the size of the file."""
    bytes_per_s = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = 12
        while position + CHUNK.size <= len(data):
            name, size = CHUNK.unpack_from(data, position)
            position += CHUNK.size
            try:
                if name == b"LIST" and data[position : position + 8] == b"hdrlavih":
                    microseconds, *_, frames = AVI_HEADER.unpack_from(data, position + 12)
                    return float(frames * microseconds / 1e6)
                if name == b"fmt ":
                    bytes_per_s = FORMAT.unpack_from(data, position)[3]
            except error:
                return 0.0
            if name == b"data":
                return 0.0 if size in UNKNOWN or not bytes_per_s else size / bytes_per_s
            position += size + size % 2
    return 0.0
