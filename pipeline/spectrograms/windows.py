"""Sound as pictures: spectrograms behind one contract, cut into windows that know their time.

A spectrogram is a function of mono float32 sound (samples,) and its rate in Hz; it returns (bands, frames) float32.
A table entry is a builder: called with the section's configuration, it returns the spectrogram.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ParameterError
from pipeline.base.registry import lookup
from pipeline.media.sound import read_audio
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig

LIBRARIES = ("av", "librosa", "numba", "numpy", "scipy", "soxr")


def no_windows(config: SpectrogramsConfig) -> dict[str, NDArray[Any]]:
    """Return the columns of no window at all: what each column is."""
    return {
        "times": np.empty(0, np.float32),  # seconds, the window's middle
        "durations": np.empty(0, np.float32),  # seconds, the window's length
        "windows": np.empty((0, config.bands), np.float32),  # frames in 0..1, lowest band first
        "windows_lengths": np.empty(0, np.int64),  # frames of each
    }


def extract_windows(path: Path, config: SpectrogramsConfig) -> dict[str, NDArray[Any]]:
    """Return one clip's columns; see `no_windows`."""
    sound = read_audio(path, rate_hz=config.rate_hz, channels=config.channels)
    # A clip shorter than one FFT is padded with silence: the transform needs that much.
    sound = np.pad(sound, (0, max(0, config.fft_samples - len(sound))))
    values = lookup(SPECTROGRAMS, config.kind, "spectrogram")(config)(sound, config.rate_hz)
    if values.ndim != 2 or len(values) != config.bands:
        raise ParameterError(
            f"spectrogram {config.kind!r} gave an array of shape {values.shape}, not (bands = {config.bands}, frames)"
        )
    black, white = config.range
    image = np.clip((values - black) / (white - black), 0, 1).T
    # A clip shorter than a window is filled up with black, so that a second is as wide in every image.
    image = np.pad(image, ((0, max(0, config.window_frames - len(image))), (0, 0)))
    spans = window_spans(len(image), length=config.window_frames or len(image), overlap=config.overlap)
    edges = np.asarray(spans) * config.hop / config.rate_hz  # seconds
    return {
        "times": edges.mean(1).astype(np.float32),
        "durations": (edges[:, 1] - edges[:, 0]).astype(np.float32),
        "windows": np.concatenate([image[start:stop] for start, stop in spans]).astype(np.float32),
        "windows_lengths": np.asarray([stop - start for start, stop in spans], np.int64),
    }


def window_spans(frames: int, *, length: int, overlap: float) -> list[tuple[int, int]]:
    """Return the windows' first and one-past-last frames: all `length` long, evenly spaced from start to end.

    The overlap is that of the nearest whole number of windows.
    """
    number = 1 + round((frames - length) / (length * (1 - overlap)))
    starts = np.linspace(0, frames - length, number).round().astype(int).tolist()
    return [(start, start + length) for start in starts]
