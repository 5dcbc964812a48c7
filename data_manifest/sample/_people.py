"""Who the speakers are: a face, a voice and habits for each number, all invented."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from data_manifest.sample._script import Stream, generator

Colour = tuple[int, int, int]
Choice = TypeVar("Choice")

# Cameras expose for the face, which brings skins closer together on film than they are in life.
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
    """A face at rest; lengths are in half head widths, y points down from the line of the eyes."""

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
    """A voice at rest: pitch in Hz, tract and tempo as factors, breath as a share, tilt and gain in dB."""

    pitch: float
    tract: float
    breath: float
    tempo: float
    tilt: float
    gain: float


@dataclass(frozen=True)
class Person:
    """A speaker: how they look, how they sound, how strongly they show what they feel."""

    looks: Looks
    voice: Voice
    face_strength: float
    voice_strength: float


@lru_cache(maxsize=256)
def person(seed: int, number: int) -> Person:
    """The speaker of that number; low and high voices alternate."""
    rng = generator(seed, Stream.PERSON, number)
    low = number % 2 == 1
    return Person(
        looks=_looks(rng, number, low=low),
        voice=_voice(rng, low=low),
        face_strength=float(rng.uniform(0.9, 1.15)),
        voice_strength=float(rng.uniform(0.8, 1.15)),
    )


def _turn(options: Sequence[Choice], position: int) -> Choice:
    # Taking turns, unlike drawing lots, makes even a small corpus diverse.
    return options[position % len(options)]


def _looks(rng: np.random.Generator, number: int, *, low: bool) -> Looks:
    between = rng.uniform
    rank = (number - 1) // 2
    return Looks(
        half_width=between(90, 102),
        skull=between(1.24, 1.34),
        jaw=between(1.42, 1.56) if low else between(1.36, 1.48),
        jaw_power=between(2.4, 3.2) if low else between(2.0, 2.5),
        eye_gap=between(0.41, 0.46),
        eye_size=between(0.22, 0.24) if low else between(0.23, 0.255),
        eye_slant=between(-0.02, 0.035),
        brow_height=between(-0.3, -0.25) if low else between(-0.34, -0.28),
        brow_width=between(0.065, 0.09) if low else between(0.05, 0.07),
        nose_width=between(0.12, 0.18),
        nose_length=between(0.5, 0.6),
        mouth_y=between(0.86, 0.92),
        mouth_width=between(0.37, 0.43),
        lip=between(0.055, 0.075) if low else between(0.075, 0.1),
        skin=_turn(SKINS, number - 1 + 3 * rank),
        hair=_turn(HAIRS, number - 1 + rank),
        iris=_turn(IRISES, number - 1),
        hair_style=_turn(LOW_VOICE_HAIR if low else HIGH_VOICE_HAIR, rank),
        beard=_turn(("none", "stubble", "none", "none", "moustache"), rank) if low else "none",
        glasses=number % 6 == 3,
        lashes=0.022 if low else 0.036,
        shirt=_turn(SHIRTS, number - 1),
        backdrop=_turn(BACKDROPS, 3 * number),
        light=between(0.5, 1.0) * (1 if rng.random() < 0.5 else -1),
    )


def _voice(rng: np.random.Generator, *, low: bool) -> Voice:
    return Voice(
        pitch=float(rng.uniform(92, 138) if low else rng.uniform(178, 232)),
        tract=float(rng.uniform(0.95, 1.03) if low else rng.uniform(1.1, 1.2)),
        breath=float(rng.uniform(0.04, 0.16)),
        tempo=float(rng.uniform(0.93, 1.07)),
        tilt=float(rng.normal(0.0, 1.2)),
        gain=float(rng.normal(0.0, 2.0)),
    )
