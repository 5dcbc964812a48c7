"""A Mel spectrogram after pre-emphasis, which makes high frequencies louder, as in much work on speech.

In params.yaml: `spectrograms: {kind: "spectrogram:build", options: {emphasis: 0.95}}`.
"""

import librosa
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fdan import Audio, Config, Spectrogram, SpectrogramsConfig, takes_options


class Options(Config):
    """What `spectrograms.options` may contain."""

    emphasis: float = Field(0.97, ge=0, lt=1)
    """How much of the sample before is subtracted from each sample."""


@takes_options(Options)
def build(config: SpectrogramsConfig) -> Spectrogram:
    """Return the spectrogram."""
    emphasis: float = config.options.emphasis

    def compute(audio: Audio, rate_hz: int) -> NDArray[np.float32]:
        """Return float32 (bands, frames) of audio (samples,) float32 in -1..1.

        The first axis has `config.bands` rows, low frequencies first, and the second a column every `config.hop`
        samples. Values from `spectrograms.black` to `white`, by default -80 to 20, become 0 to 1 in the image.
        """
        emphasised = np.append(audio[:1], audio[1:] - emphasis * audio[:-1])
        power = librosa.feature.melspectrogram(
            y=emphasised,
            sr=rate_hz,
            n_fft=config.fft_samples,
            hop_length=config.hop,
            n_mels=config.bands,
            fmin=config.fmin_hz,
            fmax=config.fmax_hz,
        )
        return np.asarray(10 * np.log10(np.maximum(power, 1e-10)), np.float32)  # a logarithm of 0 is not finite

    return compute
