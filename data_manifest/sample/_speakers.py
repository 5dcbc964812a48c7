"""The synthetic speakers: a face, a voice and an expressiveness for each speaker number."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from data_manifest.sample._plan import Stream, random_generator

Colour = tuple[int, int, int]
Choice = TypeVar("Choice")

# Cameras expose for the face, so skin colours differ less on video than in reality.
SKINS: tuple[Colour, ...] = (
    (236, 196, 168),
    (198, 148, 112),
    (226, 182, 148),
    (182, 132, 98),
    (238, 202, 176),
    (214, 166, 128),
    (190, 140, 106),
    (222, 176, 142),
)
HAIRS: tuple[Colour, ...] = (
    (84, 56, 38),
    (46, 38, 36),
    (98, 68, 42),
    (40, 34, 34),
    (104, 58, 36),
    (66, 46, 34),
    (56, 44, 40),
    (82, 74, 70),
)
IRISES: tuple[Colour, ...] = ((92, 62, 40), (72, 104, 132), (66, 44, 30), (88, 112, 76), (110, 84, 52))
SHIRTS: tuple[Colour, ...] = (
    (62, 92, 132),
    (168, 74, 66),
    (74, 118, 96),
    (214, 196, 160),
    (92, 72, 120),
    (52, 58, 70),
    (206, 138, 68),
)
BACKDROPS: tuple[Colour, ...] = (
    (176, 196, 208),
    (206, 190, 172),
    (172, 196, 176),
    (200, 184, 204),
    (160, 172, 190),
    (214, 204, 184),
    (150, 176, 180),
)
LOW_VOICE_HAIR = ("short", "side", "buzz", "curly", "bald", "side")
HIGH_VOICE_HAIR = ("long", "bob", "bun", "fringe", "curly", "long")


@dataclass(frozen=True)
class Looks:
    """A face at rest; lengths are in half head widths, y points down from eye level."""

    half_width: float
    skull: float
    jaw: float
    jaw_power: float
    eye_gap: float
    eye_size: float
    eye_slant: float
    brow_height: float
    brow_width: float
    nose_width: float
    nose_length: float
    mouth_y: float
    mouth_width: float
    lip: float
    skin: Colour
    hair: Colour
    iris: Colour
    hair_style: str
    beard: str
    glasses: bool
    lashes: float
    shirt: Colour
    backdrop: Colour
    light: float


@dataclass(frozen=True)
class Voice:
    """A voice at rest: pitch in Hz, tract and tempo factors, share of breath, tilt in dB per octave, gain in dB."""

    pitch: float
    tract: float
    breath: float
    tempo: float
    tilt: float
    gain: float


@dataclass(frozen=True)
class Speaker:
    """A speaker: their looks, their voice, and how strongly face and voice express emotions."""

    looks: Looks
    voice: Voice
    face_strength: float
    voice_strength: float


@lru_cache(maxsize=256)
def make_speaker(seed: int, number: int) -> Speaker:
    """Return the speaker with this number; low and high voices alternate."""
    rng = random_generator(seed, Stream.SPEAKER, number)
    low = number % 2 == 1
    return Speaker(
        looks=_draw_looks(rng, number, low=low),
        voice=_draw_voice(rng, low=low),
        face_strength=float(rng.uniform(0.9, 1.15)),
        voice_strength=float(rng.uniform(0.8, 1.15)),
    )


def _cycle(options: Sequence[Choice], position: int) -> Choice:
    # Unlike random choice, cycling makes even a small corpus diverse.
    return options[position % len(options)]


def _draw_looks(rng: np.random.Generator, number: int, *, low: bool) -> Looks:
    uniform = rng.uniform
    rank = (number - 1) // 2
    return Looks(
        half_width=uniform(90, 102),
        skull=uniform(1.24, 1.34),
        jaw=uniform(1.42, 1.56) if low else uniform(1.36, 1.48),
        jaw_power=uniform(2.4, 3.2) if low else uniform(2.0, 2.5),
        eye_gap=uniform(0.41, 0.46),
        eye_size=uniform(0.22, 0.24) if low else uniform(0.23, 0.255),
        eye_slant=uniform(-0.02, 0.035),
        brow_height=uniform(-0.3, -0.25) if low else uniform(-0.34, -0.28),
        brow_width=uniform(0.065, 0.09) if low else uniform(0.05, 0.07),
        nose_width=uniform(0.12, 0.18),
        nose_length=uniform(0.5, 0.6),
        mouth_y=uniform(0.86, 0.92),
        mouth_width=uniform(0.37, 0.43),
        lip=uniform(0.055, 0.075) if low else uniform(0.075, 0.1),
        skin=_cycle(SKINS, number - 1 + 3 * rank),
        hair=_cycle(HAIRS, number - 1 + rank),
        iris=_cycle(IRISES, number - 1),
        hair_style=_cycle(LOW_VOICE_HAIR if low else HIGH_VOICE_HAIR, rank),
        beard=_cycle(("none", "stubble", "none", "none", "moustache"), rank) if low else "none",
        glasses=number % 6 == 3,
        lashes=0.022 if low else 0.036,
        shirt=_cycle(SHIRTS, number - 1),
        backdrop=_cycle(BACKDROPS, 3 * number),
        light=uniform(0.5, 1.0) * (1 if rng.random() < 0.5 else -1),
    )


def _draw_voice(rng: np.random.Generator, *, low: bool) -> Voice:
    return Voice(
        pitch=float(rng.uniform(92, 138) if low else rng.uniform(178, 232)),
        tract=float(rng.uniform(0.95, 1.03) if low else rng.uniform(1.1, 1.2)),
        breath=float(rng.uniform(0.04, 0.16)),
        tempo=float(rng.uniform(0.93, 1.07)),
        tilt=float(rng.normal(0.0, 1.2)),
        gain=float(rng.normal(0.0, 2.0)),
    )
