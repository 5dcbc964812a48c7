"""Opening media files with PyAV; a file that cannot be decoded raises `ClipError`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import EINVAL
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from pipeline.base.errors import ClipError
from pipeline.media._formats import CONTAINERS, CONTAINERS_WITHOUT_HEADER, DECODERS, DECODERS_WITHOUT_HEADER
from pipeline.media._riff import check_tags
from pipeline.media.limits import Limits
from pipeline.media.truncation import is_cut_short

CodedStream = TypeVar("CodedStream", av.VideoStream, av.AudioStream)
CONTAINER_OPTIONS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
# To learn a file's format: no decoder is called none, and 32 bytes are the least that FFmpeg accepts.
GLANCE = {"codec_whitelist": "none", "probesize": "32"}
EDGES_PX = 2**17  # decoders add edges to a picture, which are more than half of a small one
MOST_PIXELS = 2**31 - 1  # the most that FFmpeg accepts


@contextmanager
def open_media(path: Path, limits: Limits) -> Iterator[InputContainer]:
    """Open a regular file of an allowed format; raise `ClipError` if it is another file, or if decoding it fails.

    Decoders refuse larger pictures than the limits allow. A stream that appears after the start is ignored.
    """
    try:
        if not S_ISREG(path.stat().st_mode):
            raise ClipError("cannot be decoded: it is not a regular file")
        check_tags(path)
        name = str(path.absolute())  # FFmpeg would take a relative path such as http:/host/a.mp4 for an address
        with _open(name, GLANCE) as container:
            has_header = container.format.name not in CONTAINERS_WITHOUT_HEADER
        decoders = {"codec_whitelist": ",".join(DECODERS if has_header else DECODERS_WITHOUT_HEADER)}
        codec_options = {"max_pixels": str(min(2 * limits.max_pixels + EDGES_PX, MOST_PIXELS))}
        with _open(name, decoders, codec_options) as container:
            for stream in (*container.streams.video, *container.streams.audio):
                if stream.codec_context is not None:
                    stream.codec_context.thread_count = 1  # workers run in parallel processes
                    stream.codec_context.options = codec_options
            yield container
    except (FFmpegError, OSError) as error:
        cut_short = "; it is cut short" if is_cut_short(path) else ""
        raise ClipError(f"cannot be decoded: {error.strerror or error}{cut_short}") from error


def _open(name: str, options: Mapping[str, str], codec_options: Mapping[str, str] | None = None) -> InputContainer:
    try:
        return av.open(
            name,
            options=dict(codec_options or {}),
            container_options={**CONTAINER_OPTIONS, **options},
            metadata_errors="replace",  # tags are often in another encoding than UTF-8; nothing reads them
        )
    except av.error.ArgumentError as error:
        if error.errno != EINVAL:
            raise
        raise ClipError(f"cannot be decoded: its format is none of {', '.join(CONTAINERS)}") from error


def first_stream(streams: Sequence[CodedStream], kind: str, limits: Limits) -> CodedStream | None:
    """Return the first stream that is not a cover picture, or None; `kind` is "video" or "audio".

    Raise `ClipError` if it has no allowed decoder, or if its header announces a larger picture than the limits allow.
    """
    stream = next((it for it in streams if not it.disposition & Disposition.attached_pic), None)
    if stream is None:
        return None
    if stream.codec_context is None:
        raise ClipError(f"its {kind} cannot be decoded: no decoder knows its codec")
    if stream.codec_context.name not in DECODERS:
        raise ClipError(f"its {kind} cannot be decoded: the codec {stream.codec_context.name} is not allowed")
    if isinstance(stream, av.VideoStream):
        check_picture(stream.codec_context.width, stream.codec_context.height, limits)
    return stream


def require_stream(streams: Sequence[CodedStream], kind: str, limits: Limits) -> CodedStream:
    """Return the stream of `first_stream`; raise `ClipError` if there is none."""
    stream = first_stream(streams, kind, limits)
    if stream is None:
        raise ClipError(f"has no {kind}")
    return stream


def check_picture(width_px: int, height_px: int, limits: Limits) -> None:
    """Raise `ClipError` if a picture is larger than the limits allow."""
    if width_px * height_px > limits.max_pixels:
        raise ClipError(
            f"its picture of {width_px} x {height_px} pixels is larger than run.max_pixels = {limits.max_pixels} allows"
        )
