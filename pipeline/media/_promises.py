"""How long a file says that it is: a file that was cut short is shorter."""

import mmap
from pathlib import Path
from struct import Struct, error
from typing import NamedTuple

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


class Promise(NamedTuple):
    """The lengths that a header announces, in seconds and in frames; 0 if it announces none."""

    video_s: float = 0.0
    video_frames: int = 0
    audio_s: float = 0.0
    file_s: float = 0.0  # of the longest stream, if the header has no length for each

    def least_kept(self, *, video_s: float, frames: int, audio_s: float) -> tuple[float, float]:
        """Return the decoded and the announced length of what lacks most, both 0 if nothing is announced.

        A video with all announced frames is whole: the last one may be shown for long.
        """
        has_all_frames = frames >= self.video_frames > 0
        lengths = [
            (video_s, 0.0 if has_all_frames else self.video_s),
            (audio_s, self.audio_s),
            (max(video_s, audio_s), self.file_s),
        ]
        announced = [length for length in lengths if length[1]]
        if not announced and has_all_frames:
            return video_s, video_s
        return min(announced, key=lambda length: length[0] / length[1], default=(0.0, 0.0))


def read_promise(
    path: Path, container: InputContainer, video: av.VideoStream | None, audio: av.AudioStream | None
) -> Promise:
    """Return the lengths that the header of an open file announces for its streams."""
    name = container.format.name
    if name == "wav":
        return Promise(audio_s=_riff_length(path)[0])
    if name == "avi":
        seconds, frames = _riff_length(path)
        return Promise(video_s=seconds, video_frames=frames) if video else Promise(file_s=seconds)
    if name == "mp3":
        with path.open("rb") as file:
            start = file.read(MP3_START)
        if not any(it in start for it in MP3_COUNTS):
            return Promise()
    elif name not in WITH_LENGTH:
        return Promise()
    promise = Promise(_seconds(video), video.frames if video else 0, _seconds(audio))
    if promise.video_s or promise.audio_s:
        return promise
    return Promise(file_s=(container.duration or 0) / av.time_base)


def _seconds(stream: av.VideoStream | av.AudioStream | None) -> float:
    if stream is None or not stream.duration or not stream.time_base:
        return 0.0
    return float(stream.duration * stream.time_base)


def _riff_length(path: Path) -> tuple[float, int]:
    """Return the seconds and frames that a WAV or AVI file announces; FFmpeg corrects them by the size of the file."""
    bytes_per_s = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = 12
        while position + CHUNK.size <= len(data):
            name, size = CHUNK.unpack_from(data, position)
            position += CHUNK.size
            try:
                if name == b"LIST" and data[position : position + 8] == b"hdrlavih":
                    microseconds, *_, frames = AVI_HEADER.unpack_from(data, position + 12)
                    return float(frames * microseconds / 1e6), frames
                if name == b"fmt ":
                    bytes_per_s = FORMAT.unpack_from(data, position)[3]
            except error:
                return 0.0, 0
            if name == b"data":
                return (0.0 if size in UNKNOWN or not bytes_per_s else size / bytes_per_s), 0
            position += size + size % 2
    return 0.0, 0
