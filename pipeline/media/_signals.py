"""Whether there is anything to hear or see, measured on frames as they are decoded."""

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from pipeline.media.frames import is_one_colour, shrink_image
from pipeline.media.loudness import SILENCE_DBFS, decibels

THUMBNAIL_PX = 64
LONGEST_SIDE_PX = 640  # the default of `faces.detect_max_side_px`


class LoudnessMeter:
    """The level of the loudest second, from the energy of each frame: nothing is resampled, and no sample is kept.

    `loudest_second_dbfs` gives about the same for speech, and less for a sound above half the rate of a spectrogram.
    """

    def __init__(self) -> None:
        """Start without any frame."""
        self._rows: list[tuple[float, float, float]] = []  # of each frame: its seconds, and integrals of x and of x²

    def add(self, frame: av.AudioFrame) -> None:
        """Measure the next frame. A constant does not change the level."""
        step_s = 1 / frame.sample_rate
        try:
            samples = self._read(frame)
        except (ValueError, FFmpegError):  # of an unusual format; the stage that needs the sound says what is wrong
            samples = np.full(max(1, frame.samples), np.nan)
        with np.errstate(over="ignore", invalid="ignore"):  # of samples that are not finite, or far too large
            integral, energy = float(samples.sum()), float(samples @ samples)
        self._rows.append((len(samples) * step_s, integral * step_s, energy * step_s))

    @staticmethod
    def _read(frame: av.AudioFrame) -> NDArray[np.float64]:
        """Return the mix of all channels (samples,); full scale is 1, around any constant."""
        values = frame.to_ndarray()
        samples = values.astype(np.float64)
        channels = frame.layout.nb_channels
        if channels > 1:
            share = np.full(channels, channels**-0.5)  # as FFmpeg mixes stereo: the power of independent sounds is kept
            samples = share @ samples if frame.format.is_planar else samples.reshape(-1, channels) @ share
        scale = 1.0 if values.dtype.kind == "f" else 2.0 ** (1 - 8 * values.dtype.itemsize)
        return samples.ravel() * scale

    @property
    def level_dbfs(self) -> float:
        """The level, `SILENCE_DBFS` without any frame; NaN if samples are not finite."""
        if not self._rows:
            return SILENCE_DBFS
        with np.errstate(over="ignore", invalid="ignore"):
            ends, integrals, energies = np.cumsum([(0.0, 0.0, 0.0), *self._rows], axis=0).T
            last = np.searchsorted(ends, np.minimum(ends[:-1] + 1.0, ends[-1]))  # the end of a second from each frame
            first = np.minimum(np.arange(len(self._rows)), np.searchsorted(ends, max(0.0, ends[-1] - 1.0), "right") - 1)
            seconds = ends[last] - ends[first]
            power = (energies[last] - energies[first]) / seconds - ((integrals[last] - integrals[first]) / seconds) ** 2
        return decibels(float(power.max()))


class ColourMeter:
    """Whether each frame of a picture is one colour; nothing is measured after the first frame that is not."""

    def __init__(self) -> None:
        """Start without any frame."""
        self._has_frames = self._is_varied = False

    def add(self, frame: av.VideoFrame) -> None:
        """Look at the next frame."""
        self._has_frames = True
        if self._is_varied:
            return
        try:
            self._is_varied = _is_varied(frame)
        except (ValueError, FFmpegError):  # of an unusual format; the stage `faces` says what is wrong
            self._is_varied = True

    @property
    def is_one_colour(self) -> bool:
        """Whether there are frames, and all are one colour."""
        return self._has_frames and not self._is_varied


def _is_varied(frame: av.VideoFrame) -> bool:
    thumbnail = frame.to_ndarray(format="rgb24", width=THUMBNAIL_PX, height=THUMBNAIL_PX, threads=1)
    if not is_one_colour(np.asarray(thumbnail[None], np.uint8)):
        return True
    image = np.asarray(frame.to_ndarray(format="rgb24", threads=1), np.uint8)  # a thumbnail may lose a fine texture
    return not is_one_colour(shrink_image(image, max_side_px=LONGEST_SIDE_PX)[None])
