"""Reading media with PyAV: what a file holds, frames at chosen times, sound as one channel."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import av
from av.container import InputContainer
from av.error import FFmpegError

from pipeline.base.errors import ClipError

Stream = TypeVar("Stream")


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    try:
        with av.open(str(path)) as container:
            for stream in (*container.streams.video, *container.streams.audio):
                stream.codec_context.thread_count = 1  # processes make use of the cores
            yield container
    except (FFmpegError, OSError) as error:
        raise ClipError(f"cannot be decoded: {error.strerror or error}") from error


def first_stream(streams: Sequence[Stream], kind: str) -> Stream:
    if not streams:
        raise ClipError(f"has no {kind}")
    return streams[0]
