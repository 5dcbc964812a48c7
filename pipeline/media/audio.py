"""The audio of a media file as one channel."""

from pathlib import Path
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ClipError
from pipeline.media._opening import first_stream, open_media

Channels = Literal["mix", "first", "center"]  # center: the dialogue of 5.1 audio; without a centre, all are mixed


def read_audio(path: Path, *, rate_hz: int, channels: Channels = "mix") -> NDArray[np.float32]:
    """Return the audio as one channel (samples,) in -1..1 at the given rate; raise `ClipError` if there is none."""
    with open_media(path) as container:
        stream = first_stream(container.streams.audio, "audio")
        index = _channel_index(stream.layout, channels)
        resampler = av.AudioResampler(format="fltp", layout="mono" if index is None else None, rate=rate_hz)
        parts = [
            part.to_ndarray()[index or 0]
            for frame in [*container.decode(stream), None]  # None flushes the resampler
            for part in resampler.resample(frame)
        ]
    if not parts:
        raise ClipError("the audio has no samples")
    return np.concatenate(parts)


def _channel_index(layout: av.AudioLayout, wanted: Channels) -> int | None:
    """Return the index of the channel to use, or None to mix all channels."""
    names = [channel.name for channel in layout.channels]
    if wanted == "center":
        return names.index("FC") if "FC" in names else None
    return 0 if wanted == "first" else None
