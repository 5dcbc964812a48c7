"""How loud a sound is."""

import numpy as np
from numpy.typing import NDArray

STEP_S = 0.1
END_S = 0.01  # at both ends of a sound, in which a resampler rings
AUDIBLE_DBFS: float = -80  # a sound whose loudest second is quieter counts as no sound, unless parameters say otherwise
SILENCE_DBFS = -200.0  # of a sound without any change; less than 24 bits can hold


def loudest_second_dbfs(samples: NDArray[np.float32], rate_hz: int) -> float:
    """Return the level of the loudest second of a sound (samples,) in -1..1, or of all of it if it is shorter.

    The level is the RMS around the median, since a constant cannot be heard, in decibels below an amplitude of 1.
    """
    end = round(END_S * rate_hz)
    if len(samples) > 4 * end:
        samples = samples[end:-end]
    power = np.square(samples - np.median(samples), dtype=np.float64)
    energy = np.concatenate([[0.0], np.cumsum(power)])
    length = min(rate_hz, len(samples))
    starts = np.unique([*range(0, len(samples) - length, round(STEP_S * rate_hz)), len(samples) - length])
    loudest = (energy[starts + length] - energy[starts]).max() / length
    return decibels(float(loudest))


def decibels(power: float) -> float:
    """Return a power, relative to an amplitude of 1, in decibels: `SILENCE_DBFS` or more, or NaN if the power is."""
    return SILENCE_DBFS if power <= 0 else max(float(10 * np.log10(power)), SILENCE_DBFS)
