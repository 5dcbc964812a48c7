"""Spoken sentences: nonsense syllables, their timing, and how far they open the mouth."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_manifest.sample._plan import Stream, random_generator

Floats = NDArray[np.float64]

# The first three formants of an adult male, in Hz.
VOWELS: dict[str, tuple[float, float, float]] = {
    "a": (730.0, 1180.0, 2480.0),
    "e": (500.0, 1820.0, 2500.0),
    "i": (300.0, 2250.0, 2950.0),
    "o": (480.0, 880.0, 2450.0),
    "u": (320.0, 800.0, 2300.0),
}
OPENNESS = {"a": 1.0, "e": 0.7, "i": 0.45, "o": 0.75, "u": 0.4}
ROUNDNESS = {"a": 0.0, "e": -0.25, "i": -0.4, "o": 0.7, "u": 1.0}
SYLLABLES = 5
SYLLABLE_S = 0.23
LEAD_S = 0.14
TAIL_S = 0.18
MIN_DURATION_S = 1.2
MAX_DURATION_S = 1.9


class Consonant(NamedTuple):
    """A consonant: length in seconds, loudness of its noise, centre and width of the noise in Hz, voicing."""

    length: float
    noise: float
    centre: float
    width: float
    voiced: float


CONSONANTS = {
    "b": Consonant(0.035, 0.25, 900.0, 700.0, 0.35),
    "d": Consonant(0.035, 0.35, 3200.0, 1200.0, 0.3),
    "k": Consonant(0.05, 0.6, 1900.0, 700.0, 0.0),
    "m": Consonant(0.06, 0.0, 300.0, 200.0, 0.5),
    "n": Consonant(0.055, 0.0, 300.0, 200.0, 0.5),
    "s": Consonant(0.09, 0.6, 6500.0, 1800.0, 0.0),
    "sh": Consonant(0.09, 0.65, 3400.0, 1200.0, 0.0),
    "t": Consonant(0.04, 0.7, 4300.0, 1600.0, 0.0),
}


class Syllable(NamedTuple):
    """A consonant and a vowel, with start and length in seconds and a stress of 0 to 1."""

    consonant: str
    vowel: str
    start: float
    length: float
    stress: float


class Speech(NamedTuple):
    """Timed syllables, and the duration of the clip in seconds."""

    syllables: tuple[Syllable, ...]
    duration: float


def make_speech(seed: int, take: int, *, tempo: float, frame_rate: int, rng: np.random.Generator) -> Speech:
    """Return sentence number `take`: the same syllables for all speakers, `tempo` times as long as usual."""
    sentence_rng = random_generator(seed, Stream.SENTENCE, take)
    consonants = sentence_rng.permutation(sorted(CONSONANTS))[:SYLLABLES]
    vowels = sentence_rng.permutation(sorted(VOWELS) * 2)[:SYLLABLES]
    stressed = int(sentence_rng.integers(0, SYLLABLES - 1))
    relative = 1.0 + 0.3 * np.eye(SYLLABLES)[stressed] + rng.normal(0.0, 0.05, SYLLABLES)
    relative[-1] += 0.3
    spoken_s = SYLLABLES * SYLLABLE_S * tempo
    spoken_s = float(np.clip(spoken_s, MIN_DURATION_S - LEAD_S - TAIL_S, MAX_DURATION_S - LEAD_S - TAIL_S))
    lengths = relative / relative.sum() * spoken_s
    starts = LEAD_S + np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    syllables = tuple(
        Syllable(str(consonants[i]), str(vowels[i]), float(starts[i]), float(lengths[i]), float(i == stressed))
        for i in range(SYLLABLES)
    )
    frames = round((LEAD_S + spoken_s + TAIL_S) * frame_rate)
    return Speech(syllables, frames / frame_rate)


def envelope(speech: Speech, times: Floats) -> Floats:
    """Return the loudness of the voice at those times, (n,) in 0 to about 1; each syllable rises and falls."""
    total = np.zeros_like(times)
    for syllable in speech.syllables:
        begin = syllable.start + CONSONANTS[syllable.consonant].length
        end = syllable.start + syllable.length
        rise = np.clip((times - begin) / 0.045, 0.0, 1.0)
        fall = np.clip((end - times) / 0.075, 0.0, 1.0)
        shape = (rise * rise * (3 - 2 * rise)) * (fall * fall * (3 - 2 * fall))
        total = np.maximum(total, shape * (0.8 + 0.2 * syllable.stress))
    return total


def articulation(speech: Speech, times: Floats) -> tuple[Floats, Floats]:
    """Return how far the mouth is open (0 to 1) and how round it is (-1 to 1) at those times, (n,) each."""
    opening, rounding = np.zeros_like(times), np.zeros_like(times)
    for syllable in speech.syllables:
        loudness = envelope(Speech((syllable,), speech.duration), times)
        opening = np.maximum(opening, OPENNESS[syllable.vowel] * loudness)
        rounding += ROUNDNESS[syllable.vowel] * loudness
    return opening, np.clip(rounding, -1.0, 1.0)
