"""Whether a spectrogram keeps its contract, by what it gave for some audio.

Raise ContractError if not: a spectrogram that breaks it is at fault, and not the clip.
"""

import numpy as np

from pipeline.base.errors import broken_contract
from pipeline.spectrograms.kinds import SpectrogramsConfig

CLOSE = 0.1  # relative difference up to which a measured hop is taken for one of the usual mistakes


def check_spectrogram(values: object, config: SpectrogramsConfig, *, samples: int) -> None:
    """Check what `config.kind` gave for audio (samples,): finite float32 (bands, frames), a column every `config.hop`.

    A transform that is centred on each hop gives 1 + samples // hop columns; one that stays within the audio gives a
    Fourier transform's length fewer. Both are valid.
    """
    part, wanted = f"spectrogram {config.kind!r}", f"a float32 array (bands = {config.bands}, frames)"
    if not isinstance(values, np.ndarray):
        raise broken_contract(part, gave=type(values).__name__, wanted=wanted)
    if values.ndim != 2 or len(values) != config.bands:
        guess = "it is transposed: return values.T" if values.shape[1:] == (config.bands,) else ""
        if values.ndim == 2 and not guess:
            guess = "take as many rows as config.bands says"
        raise broken_contract(part, gave=f"the shape {values.shape}", wanted=wanted, guess=guess)
    if values.dtype != np.float32:
        raise broken_contract(part, gave=f"{values.dtype}", wanted=wanted, guess="use .astype(np.float32)")
    _check_columns(values.shape[1], config, samples, part)
    if not np.isfinite(values).all():
        share = 1 - np.isfinite(values).mean()
        guess = "before a logarithm, replace 0 by a small number"
        raise broken_contract(part, gave=f"{share:.0%} NaN or infinity", wanted="finite values", guess=guess)


def _check_columns(columns: int, config: SpectrogramsConfig, samples: int, part: str) -> None:
    fewest = max(1, (samples - config.fft_samples) // config.hop)
    most = 2 + samples // config.hop
    if fewest <= columns <= most:
        return
    measured = samples / max(1, columns)
    mistakes = {  # samples between columns
        "config.hop_ms is in milliseconds: use config.hop, in samples": config.hop_ms,
        "this is a column every second: use config.hop, in samples": config.rate_hz,
        "this is librosa's default: pass hop_length=config.hop": config.fft_samples / 4,
    }
    near = [text for text, hop in mistakes.items() if abs(measured / hop - 1) < CLOSE]
    gave = f"{columns} columns for {samples} samples"
    wanted = f"{1 + samples // config.hop}, one every config.hop = {config.hop} samples"
    raise broken_contract(part, gave=gave, wanted=wanted, guess=(near or ["pass hop_length=config.hop"])[0])
