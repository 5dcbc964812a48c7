"""Packets and frames of a file, counted against the limits as they come."""

import ctypes
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import av
from av.container import InputContainer
from av.error import InvalidDataError

from pipeline.base.errors import ClipError
from pipeline.media._opening import check_picture
from pipeline.media.limits import Limits

MAX_PACKETS_PER_S = 2000  # of all streams together; 400 a second are usual for audio, 60 for video
MAX_RATE_HZ = 768_000
WITHOUT_PACKET_SIZES = {"flac"}  # elsewhere, FFmpeg marks a packet that the end of the file cuts
NO_SPEAKER = "NONE"
SPEAKERS = (  # in FFmpeg's order
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL", "TBC"),
    *("TBR", "DL", "DR", "WL", "WR", "SDL", "SDR", "LFE2", "TSL", "TSR", "BFC", "BFL", "BFR", "SSL", "SSR", "TTL"),
    *("TTR", "BIL", "BIR"),
)

Stream = av.VideoStream | av.AudioStream
Frame = av.VideoFrame | av.AudioFrame


def read_packets(container: InputContainer, streams: Sequence[Stream], limits: Limits) -> Iterator["av.Packet[Any]"]:
    """Yield the packets of the streams, then an empty packet of each, with which `Packet.decode` gives the last frames.

    Raise `ClipError` if the file holds too many packets, or if their times span more than the limits allow.
    """
    units_s = {stream.index: float(stream.time_base or 0) for stream in streams}
    most = max(1, round(MAX_PACKETS_PER_S * limits.max_decoded_s))
    first_s, last_s = float("inf"), float("-inf")
    streams_left = len(container.streams)
    # All packets are counted: a damaged index can make FFmpeg read the packets of any stream again and again.
    for number, packet in enumerate(container.demux()):
        if number >= most + len(container.streams):
            raise ClipError(f"holds more than {most} packets, as many as run.max_decoded_s allows")
        index = packet.stream.index  # `packet.stream_index` is 0 for the empty packet of every stream
        if index in units_s:
            if packet.pts is not None:
                time_s = packet.pts * units_s[index]
                first_s, last_s = min(first_s, time_s), max(last_s, time_s)
                if last_s - first_s > limits.max_decoded_s:
                    raise ClipError(_too_long(limits))
            yield packet
        streams_left -= packet.dts is None and not packet.size
        if not streams_left:  # PyAV fails at a stream that has appeared since the file was opened
            break


def decode(container: InputContainer, streams: Sequence[Stream], limits: Limits) -> Iterator[Frame]:
    """Yield the frames of at most one video and one audio stream.

    The last packet of a file that was cut short is incomplete, and left out if it cannot be decoded. Raise `ClipError`
    if the frames exceed the limits, or if the size of the picture changes: boxes and tracks are in pixels of one size.
    """
    first_picture: tuple[int, int, int] | None = None
    audio_s = 0.0
    damage: InvalidDataError | None = None
    for packet in read_packets(container, streams, limits):
        if damage and packet.size:  # it was not the last packet
            raise damage
        try:
            frames = packet.decode()
        except InvalidDataError as error:
            if not packet.is_corrupt and container.format.name not in WITHOUT_PACKET_SIZES:
                raise
            damage = error
            continue
        _refuse_custom_layouts(frames)
        for frame in frames:
            if isinstance(frame, av.VideoFrame):
                check_picture(frame.width, frame.height, limits)
                picture = (frame.width, frame.height, frame.rotation)
                first_picture = first_picture or picture
                if picture != first_picture:
                    raise ClipError(f"its picture changes from {_describe(*first_picture)} to {_describe(*picture)}")
                yield frame
            elif isinstance(frame, av.AudioFrame):
                audio_s += _seconds(frame)
                if audio_s > limits.max_decoded_s:
                    raise ClipError(_too_long(limits))
                yield frame


def _refuse_custom_layouts(frames: Sequence[object]) -> None:
    """Raise `ClipError` if the channels of an audio frame are in an order of the file's own.

    Up to version 18, PyAV frees such an order twice, with the frame and with its layout, which ends the process. So
    these layouts are never freed.
    """
    layouts = [frame.layout for frame in frames if isinstance(frame, av.AudioFrame)]
    custom = [layout for layout in layouts if not _is_standard([channel.name for channel in layout.channels])]
    for layout in custom:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
    if custom:
        raise ClipError(f"its audio has channels in an unusual order: {custom[0].name}")


def _is_standard(channels: Sequence[str]) -> bool:
    """Return whether channels are in FFmpeg's order of speakers, or ambisonic, or of no order at all."""
    ambisonic = [f"AMBI{number}" for number in range(len(channels))]
    order = [*ambisonic, *SPEAKERS]
    places = [order.index(name) if name in order else -1 for name in channels]
    is_sorted = all(before < after for before, after in pairwise([-1, *places]))
    return is_sorted or set(channels) == {NO_SPEAKER}


def _describe(width_px: int, height_px: int, rotation: int) -> str:
    return f"{width_px} x {height_px} pixels" + (f", rotated by {rotation} degrees" if rotation else "")


def _seconds(frame: av.AudioFrame) -> float:
    if not 0 < frame.sample_rate <= MAX_RATE_HZ:
        raise ClipError(f"its audio has a rate of {frame.sample_rate} Hz, not one of 1 to {MAX_RATE_HZ} Hz")
    return frame.samples / frame.sample_rate


def _too_long(limits: Limits) -> str:
    return f"lasts longer than run.max_decoded_s = {limits.max_decoded_s:g} s allows"
