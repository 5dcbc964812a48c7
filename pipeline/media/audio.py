"""The audio of a media file as one channel."""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ClipError
from pipeline.media._decoding import decode
from pipeline.media._opening import open_media, require_stream
from pipeline.media.limits import DEFAULT_LIMITS, Limits

Channels = Literal["mix", "first", "center"]  # center: the dialogue of 5.1 audio; without a centre, all are mixed

LOUDEST = 2.0**31  # some tools write integers of 32 bits as floats; the power of larger samples may overflow


def read_audio(
    path: Path, *, rate_hz: int, channels: Channels = "mix", limits: Limits = DEFAULT_LIMITS
) -> NDArray[np.float32]:
    """Return the audio as one channel (samples,) in -1..1 at the given rate.

    If the rate or the channels change midway, each part is converted by itself. Raise `ClipError` if there is no audio,
    if a sample is NaN, infinite or far too large, or if there is more audio than the limits allow.
    """
    with open_media(path, limits) as container:
        stream = require_stream(container.streams.audio, "audio", limits)
        frames = (frame for frame in decode(container, [stream], limits) if isinstance(frame, av.AudioFrame))
        parts = list(_convert(frames, rate_hz, channels))
    if not parts:
        raise ClipError("the audio has no samples")
    return np.concatenate(parts)


def _convert(frames: Iterable[av.AudioFrame], rate_hz: int, channels: Channels) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of the frames as one channel at the given rate."""
    for _, segment in groupby(frames, lambda frame: (frame.format.name, frame.layout.name, frame.sample_rate)):
        first = next(segment)
        index = _channel_index(first.layout, channels)
        resampler = av.AudioResampler(format="fltp", layout="mono" if index is None else None, rate=rate_hz)
        for frame in chain([first], segment, [None]):  # None flushes the resampler
            for part in resampler.resample(frame):
                samples = np.array(part.to_ndarray()[index or 0], np.float32)  # a copy: one channel, not all
                if not (np.abs(samples) <= LOUDEST).all():  # false for NaN
                    raise ClipError("its audio holds samples that are NaN, infinite or beyond 2**31")
                yield samples


def _channel_index(layout: av.AudioLayout, wanted: Channels) -> int | None:
    """Return the index of the channel to use, or None to mix all channels."""
    names = [channel.name for channel in layout.channels]
    if wanted == "center":
        return names.index("FC") if "FC" in names else None
    return 0 if wanted == "first" else None
