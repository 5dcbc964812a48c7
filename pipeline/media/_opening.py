"""Opening media files with PyAV; a file that cannot be decoded raises `ClipError`."""

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
    """Open a media file; raise `ClipError` if opening it, or decoding it inside the block, fails."""
    try:
        with av.open(str(path)) as container:
            for stream in (*container.streams.video, *container.streams.audio):
                stream.codec_context.thread_count = 1  # workers run in parallel processes
            yield container
    except (FFmpegError, OSError) as error:
        raise ClipError(f"cannot be decoded: {error.strerror or error}") from error


def first_stream(streams: Sequence[Stream], kind: str) -> Stream:
    """Return the first stream; raise `ClipError` with `kind`, "video" or "audio", if there is none."""
    if not streams:
        raise ClipError(f"has no {kind}")
    return streams[0]
