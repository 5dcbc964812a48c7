"""A clip's spectrogram, cut into windows of equal length, each with its time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.base.builders import build
from pipeline.base.errors import AbsentModalityError
from pipeline.media.audio import read_audio
from pipeline.media.limits import DEFAULT_LIMITS, Limits
from pipeline.media.loudness import loudest_second_dbfs
from pipeline.spectrograms.checks import check_spectrogram
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig
from pipeline.store.clips import ClipWindows
from pipeline.store.columns import Ragged

LIBRARIES = ("av", "librosa", "numba", "numpy", "scipy", "soxr")


def extract_windows(path: Path, config: SpectrogramsConfig, *, limits: Limits = DEFAULT_LIMITS) -> ClipWindows:
    """Return the spectrogram windows of a media file.

    Raise ContractError if the spectrogram returns anything but finite (bands, frames), ClipError if the media cannot
    be used, and AbsentModalityError if nothing is to be heard.
    """
    audio = read_audio(path, rate_hz=config.rate_hz, channels=config.channels, limits=limits)
    if (level := loudest_second_dbfs(audio, config.rate_hz)) < config.silence_dbfs:
        raise AbsentModalityError(f"its sound is silent: {level:.0f} dBFS in its loudest second")
    # The transform needs at least one FFT's samples, so a shorter clip is padded with silence.
    audio = np.pad(audio, (0, max(0, config.fft_samples - len(audio))))
    spectrogram = build(SPECTROGRAMS, config.kind, "spectrogram", config, expected=Callable)
    values = spectrogram(audio, config.rate_hz)
    check_spectrogram(values, config, samples=len(audio))
    black, white = config.range
    image = np.clip((values - black) / (white - black), 0, 1).T
    # A clip shorter than a window is padded with black, so that a second is equally wide in every image.
    image = np.pad(image, ((0, max(0, config.window_frames - len(image))), (0, 0)))
    spans = window_spans(len(image), length=config.window_frames or len(image), overlap=config.overlap)
    edges = np.asarray(spans) * config.hop / config.rate_hz  # seconds
    return ClipWindows(
        times=edges.mean(1).astype(np.float32),
        durations=(edges[:, 1] - edges[:, 0]).astype(np.float32),
        windows=Ragged.join([image[start:stop].astype(np.float32) for start, stop in spans]),
    )


def window_spans(frames: int, *, length: int, overlap: float) -> list[tuple[int, int]]:
    """Return each window's first frame and the frame after its last one; windows are evenly spaced from start to end.

    All windows are `length` frames long. Their overlap is the one of the nearest whole number of windows.
    """
    number = 1 + round((frames - length) / (length * (1 - overlap)))
    starts = np.linspace(0, frames - length, number).round().astype(int).tolist()
    return [(start, start + length) for start in starts]
