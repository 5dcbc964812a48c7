"""Kinds of spectrograms behind one contract, and the section `spectrograms`.

A spectrogram is a function of mono float32 audio (samples,) and its rate in Hz; it returns (bands, frames) float32.
An entry of the table `SPECTROGRAMS` is a builder: called with the section's configuration, it returns the spectrogram.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.base.options import NO_OPTIONS, FrozenMapping, Options, OptionsConfig, check_options
from pipeline.base.registry import check_name
from pipeline.media.audio import Channels
from pipeline.media.loudness import AUDIBLE_DBFS

Audio = NDArray[np.float32]
"""Mono audio (samples,) float32 in -1..1."""
Spectrogram = Callable[[Audio, int], NDArray[np.float32]]
"""A function of `Audio` and its rate in Hz that returns (bands, frames) float32."""
DECIBELS = (-80.0, 20.0)  # what is black and white where a kind does not say otherwise
LARGEST_BYTES_PER_S = 16e6  # of transform and windows together; the default settings need half a megabyte
SILENCE = 1e-10  # the power below which a cell counts as silent, -100 dB: keeps the logarithm finite


class SpectrogramsConfig(OptionsConfig):
    """The section `spectrograms`."""

    kind: str = "log_mel"
    """The kind of spectrogram."""
    rate_hz: int = Field(16000, ge=1000, le=384_000)
    """Sampling rate to which the audio is converted."""
    channels: Channels = "mix"
    """`mix` averages all channels, `first` takes the first, `center` takes the dialogue channel of 5.1 audio."""
    fft_samples: int = Field(1024, ge=16, le=65_536)
    """Samples of one Fourier transform."""
    hop_ms: float = Field(10, ge=0.1, le=10_000)
    """Time between two columns of the spectrogram."""
    bands: int = Field(128, ge=8, le=4096)
    """Rows of the image: Mel bands, cepstral coefficients, or semitones and fractions of them."""
    fmin_hz: float = Field(50, ge=0, le=192_000)
    """Lowest frequency."""
    fmax_hz: float = Field(8000, gt=0, le=192_000)
    """Highest frequency; at most half of `rate_hz`."""
    window_s: float | None = Field(1.0, gt=0, le=3600)
    """Length of a window; null: one image per clip."""
    overlap: float = Field(0.5, ge=0, le=0.99)
    """Share of a window that the next window repeats."""
    silence_dbfs: float = Field(AUDIBLE_DBFS, ge=-199, le=0)
    """A sound whose loudest second is quieter (its RMS, in decibels below full scale) counts as no sound."""
    black: float | None = Field(None, ge=-1_000_000, le=1_000_000)
    """The value (for `log_mel` in dB) that becomes 0 in the image; null: the default of the kind."""
    white: float | None = Field(None, ge=-1_000_000, le=1_000_000)
    """The value that becomes 1 in the image; null: the default of the kind."""
    options: Options = NO_OPTIONS
    """Parameters of a spectrogram of your own; see [Options](swap.md#options)."""

    @field_validator("kind")
    @classmethod
    def _check_name(cls, value: str) -> str:
        return check_name(SPECTROGRAMS, value, "spectrogram")

    @field_validator("options")
    @classmethod
    def _check_options(cls, value: FrozenMapping, info: ValidationInfo) -> FrozenMapping:
        return check_options(value, SPECTROGRAMS, info.data.get("kind"), "spectrogram")

    @model_validator(mode="after")
    def _check_bounds(self) -> "SpectrogramsConfig":
        if not self.fmin_hz < self.fmax_hz <= self.rate_hz / 2:
            raise ValueError(
                f"needs fmin_hz < fmax_hz <= rate_hz / 2, not {self.fmin_hz}, {self.fmax_hz}, {self.rate_hz / 2}"
            )
        if self.kind == "cqt" and not self.fmin_hz:
            raise ValueError("cqt needs fmin_hz > 0: its bands are pitches")
        bytes_per_s = 4 * self.rate_hz / self.hop * (self.fft_samples + self.bands / (1 - self.overlap))
        if bytes_per_s > LARGEST_BYTES_PER_S:
            raise ValueError(
                f"needs {bytes_per_s / 1e6:.0f} MB for each second of audio, more than "
                f"{LARGEST_BYTES_PER_S / 1e6:.0f}; take a longer hop_ms, or less of fft_samples, bands or overlap"
            )
        black, white = self.range
        if black >= white:
            raise ValueError(f"needs black < white, not {black}, {white}")
        return self

    @property
    def range(self) -> tuple[float, float]:
        """The values that become 0 and 1 in the image."""
        black, white = RANGES.get(self.kind, DECIBELS)
        return black if self.black is None else self.black, white if self.white is None else self.white

    @property
    def hop(self) -> int:
        """Samples between two frames."""
        return max(1, round(self.hop_ms * self.rate_hz / 1000))

    @property
    def window_frames(self) -> int:
        """Frames in a window; 0 if a clip is one image."""
        return 0 if self.window_s is None else max(1, round(self.window_s * self.rate_hz / self.hop))


def log_mel(config: SpectrogramsConfig) -> Spectrogram:
    """Power on the Mel scale, in dB re full scale squared."""
    from pipeline.spectrograms import _librosa

    def compute(audio: Audio, rate_hz: int) -> NDArray[np.float32]:
        power = _librosa.melspectrogram(
            y=audio,
            sr=rate_hz,
            n_fft=config.fft_samples,
            hop_length=config.hop,
            n_mels=config.bands,
            fmin=config.fmin_hz,
            fmax=config.fmax_hz,
        )
        return _decibels(power)

    return compute


def mfcc(config: SpectrogramsConfig) -> Spectrogram:
    """Cepstral coefficients of `log_mel`, without the first one, which is loudness."""
    from pipeline.spectrograms import _librosa

    mels = log_mel(config.model_copy(update={"bands": config.bands + 1}))

    def compute(audio: Audio, rate_hz: int) -> NDArray[np.float32]:
        values = _librosa.mfcc(S=mels(audio, rate_hz), n_mfcc=config.bands + 1)[1:]
        return np.asarray(values, np.float32)

    return compute


def cqt(config: SpectrogramsConfig) -> Spectrogram:
    """Power of a constant-Q transform, in dB re full scale squared; the bands are pitches from fmin_hz to fmax_hz."""
    from pipeline.spectrograms import _librosa

    bins_per_octave = math.ceil(config.bands / math.log2(config.fmax_hz / config.fmin_hz))

    def compute(audio: Audio, rate_hz: int) -> NDArray[np.float32]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "n_fft=.* is too large")  # low octaves of short clips are padded
            values = _librosa.cqt(
                audio,
                sr=rate_hz,
                hop_length=config.hop,
                fmin=config.fmin_hz,
                n_bins=config.bands,
                bins_per_octave=bins_per_octave,
                tuning=0,  # not estimated from the clip: a row is the same pitch in all clips
                scale=False,  # a tone has the same brightness at any pitch
            )
        return _decibels(np.abs(values) ** 2)

    return compute


def _decibels(power: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    return np.asarray(10 * np.log10(np.maximum(power, SILENCE)), np.float32)


SPECTROGRAMS: dict[str, Callable[[SpectrogramsConfig], Spectrogram]] = {"cqt": cqt, "log_mel": log_mel, "mfcc": mfcc}
"""Spectrograms by name: builders that take a `SpectrogramsConfig`."""
RANGES = {"cqt": (-100.0, 0.0), "log_mel": DECIBELS, "mfcc": (-100.0, 100.0)}
