"""What an emotion does to face and voice over time, and how each person does it a little differently."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_manifest.sample._people import Person
from data_manifest.sample._script import EMOTIONS, Stream, Utterance, generator
from data_manifest.sample._speech import Speech, articulation

Floats = NDArray[np.float64]

# How far people differ at rest, in how they show one emotion, and from one take to the next.
RESTING_SPREAD = 0.09
STYLE_SPREAD = 0.14
TAKE_SPREAD = 0.04
# The least and the most that a take shows of an emotion, in face and in voice.
FACE_STRENGTH = (0.9, 1.1)
VOICE_STRENGTH = (0.85, 1.1)


class Pose(NamedTuple):
    """A face at one moment; 0 is rest and 1 a strong movement.

    Flush goes from pale to red; angles are in radians and gaze in iris widths.
    """

    brow_raise: float = 0.0
    brow_tilt: float = 0.0
    brow_squeeze: float = 0.0
    lid: float = 0.0
    squint: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    smile: float = 0.0
    part: float = 0.0
    stretch: float = 0.0
    press: float = 0.0
    sneer: float = 0.0
    nod: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    lean: float = 0.0
    flush: float = 0.0


class Manner(NamedTuple):
    """How a voice differs from rest: semitones, factors, dB, dB per octave, shares, Hz."""

    pitch: float = 0.0
    swing: float = 1.0
    slope: float = -2.0
    energy: float = 0.0
    tempo: float = 1.0
    tilt: float = 0.0
    breath: float = 0.0
    jitter: float = 0.0
    tremor: float = 0.0


# Anger and disgust share a face, fear and surprise share another: the voice tells them apart.
FACES = {
    "anger": Pose(
        brow_raise=-1.0,
        brow_tilt=-0.9,
        brow_squeeze=1.0,
        squint=0.7,
        smile=-0.6,
        part=0.1,
        press=0.4,
        sneer=0.5,
        nod=0.4,
        lean=0.35,
        flush=0.7,
    ),
    "disgust": Pose(
        brow_raise=-0.9,
        brow_tilt=-0.75,
        brow_squeeze=0.9,
        lid=-0.15,
        squint=0.85,
        gaze_y=0.1,
        smile=-0.65,
        part=0.1,
        press=0.3,
        sneer=0.8,
        nod=0.2,
        lean=0.1,
        flush=0.55,
    ),
    "fear": Pose(
        brow_raise=1.0,
        brow_tilt=0.65,
        brow_squeeze=0.2,
        lid=0.8,
        smile=-0.3,
        part=0.7,
        stretch=0.1,
        nod=-0.2,
        lean=-0.2,
        flush=-0.75,
    ),
    "happiness": Pose(
        brow_raise=0.2,
        brow_tilt=0.1,
        lid=-0.2,
        squint=0.7,
        smile=1.2,
        part=0.4,
        stretch=0.6,
        nod=-0.2,
        lean=0.1,
        flush=0.3,
    ),
    "neutral": Pose(),
    "sadness": Pose(
        brow_tilt=1.0,
        brow_squeeze=0.3,
        lid=-0.75,
        squint=0.2,
        gaze_y=0.6,
        smile=-0.8,
        part=-0.2,
        stretch=-0.2,
        press=0.3,
        nod=0.7,
        lean=-0.1,
        flush=-0.3,
    ),
    "surprise": Pose(
        brow_raise=1.15, brow_tilt=0.3, lid=0.85, smile=-0.05, part=0.85, stretch=-0.1, nod=-0.3, flush=-0.55
    ),
}
# Anger, happiness and surprise share a voice, disgust, neutral and sadness another: the face tells.
MANNERS = {
    "anger": Manner(pitch=4.5, swing=1.5, slope=-2.5, energy=4.5, tempo=0.88, tilt=3.0, jitter=0.012),
    "disgust": Manner(pitch=-1.0, swing=0.7, slope=-2.5, energy=-2.5, tempo=1.12, tilt=-2.0, breath=0.08, jitter=0.01),
    "fear": Manner(
        pitch=6.0, swing=0.6, slope=0.5, energy=-1.0, tempo=0.84, tilt=-0.5, breath=0.4, jitter=0.015, tremor=0.5
    ),
    "happiness": Manner(pitch=5.0, swing=1.8, slope=-0.5, energy=3.5, tempo=0.92, tilt=2.5, breath=0.04, jitter=0.004),
    "neutral": Manner(pitch=-0.3, swing=0.7, energy=-1.5, tempo=1.02, tilt=-1.0, breath=0.03, jitter=0.004),
    "sadness": Manner(pitch=-1.5, swing=0.5, slope=-2.5, energy=-4.0, tempo=1.15, tilt=-3.0, breath=0.16, jitter=0.006),
    "surprise": Manner(pitch=5.8, swing=1.8, slope=3.0, energy=3.0, tempo=0.94, tilt=2.0, breath=0.06, jitter=0.004),
}
# What one standard deviation of personal style is worth in each unit of Manner.
MANNER_SPREAD = Manner(1.6, 0.25, 1.2, 1.8, 0.05, 1.2, 0.06, 0.003, 0.08)
# Gaze and angles wander by themselves: as habits of a person they would only blur what is acted.
WANDERING = [Pose._fields.index(name) for name in ("gaze_x", "gaze_y", "nod", "yaw", "roll", "lean")]
# Factors and shares, which have no sense below 0.
POSITIVE = [Manner._fields.index(name) for name in ("swing", "breath", "jitter", "tremor")]


@dataclass(frozen=True)
class Motion:
    """How the head sways: amplitude as a share of the usual, speed in Hz, and how it answers stresses."""

    amount: float
    speed: float
    beat: float


MOTIONS = {
    "anger": Motion(1.2, 1.5, 0.35),
    "disgust": Motion(0.9, 0.9, 0.1),
    "fear": Motion(1.1, 2.2, 0.05),
    "happiness": Motion(1.3, 1.2, 0.25),
    "neutral": Motion(0.6, 0.7, 0.08),
    "sadness": Motion(0.7, 0.5, 0.02),
    "surprise": Motion(1.1, 1.2, 0.15),
}


def manner(utterance: Utterance, person: Person) -> Manner:
    """How this person's voice carries this emotion in this take."""
    rng = utterance.generator(Stream.VOICE)
    style = _style(utterance, 1).normal(0.0, 1.0, len(Manner()))
    strength = person.voice_strength * rng.uniform(*VOICE_STRENGTH)
    rest, acted = np.array(Manner()), np.array(MANNERS[utterance.emotion])
    chance = 0.85 * style + 0.3 * rng.normal(0.0, 1.0, rest.size)
    values = rest + strength * (acted - rest) + np.array(MANNER_SPREAD) * chance
    values[POSITIVE] = np.maximum(values[POSITIVE], 0.0)
    return Manner(*values.tolist())


def poses(utterance: Utterance, person: Person, speech: Speech, times: Floats) -> list[Pose]:
    """The face of this person during this take, one pose for each of the (n,) times in seconds."""
    rng = utterance.generator(Stream.ACTING)
    acted = np.array(FACES[utterance.emotion])
    resting = _style(utterance, 0, rest=True).normal(0.0, RESTING_SPREAD, acted.size)
    style = _style(utterance, 0).normal(0.0, STYLE_SPREAD, acted.size)
    chance = rng.normal(0.0, TAKE_SPREAD, acted.size)
    strength = person.face_strength * rng.uniform(*FACE_STRENGTH)
    steady = strength * acted + style + chance
    resting[WANDERING] *= 0.4
    course = _course(times, speech.duration, rng)
    track = resting + course[:, None] * steady
    values = dict(zip(Pose._fields, track.T, strict=True))
    _sway(values, utterance, speech, times, rng)
    _speak(values, speech, times)
    _blink(values, times, speech.duration, rng)
    return [Pose(*row) for row in np.stack(list(values.values()), axis=1).tolist()]


def _style(utterance: Utterance, modality: int, *, rest: bool = False) -> np.random.Generator:
    emotion = len(EMOTIONS) if rest else EMOTIONS.index(utterance.emotion)
    return generator(utterance.seed, Stream.STYLE, utterance.number, emotion, modality)


def _course(times: Floats, duration: float, rng: np.random.Generator) -> Floats:
    """From half-felt to full within the first third, easing off at the end, with a slow tremble."""
    onset = rng.uniform(0.2, 0.45)
    rise = np.clip(times / onset, 0.0, 1.0)
    fall = np.clip((duration - times) / 0.35, 0.0, 1.0)
    tremble = 0.06 * np.sin(2 * np.pi * (rng.uniform(1.0, 2.0) * times + rng.random()))
    return (0.45 + 0.55 * rise * rise * (3 - 2 * rise)) * (0.75 + 0.25 * fall) + tremble


def _wander(times: Floats, speed: float, rng: np.random.Generator) -> Floats:
    """A smooth aimless movement, about -1 to 1."""
    rates, phases = speed * rng.uniform(0.5, 1.3, 3), rng.random(3)
    drift: Floats = np.sin(2 * np.pi * (times[:, None] * rates + phases)).mean(axis=1) * 1.5
    return drift


def _sway(
    values: dict[str, Floats], utterance: Utterance, speech: Speech, times: Floats, rng: np.random.Generator
) -> None:
    motion = MOTIONS[utterance.emotion]
    stress = sum(
        (np.exp(-(((times - s.start - 0.12) / 0.09) ** 2)) * (0.4 + s.stress) for s in speech.syllables),
        start=np.zeros_like(times),
    )
    for name, amount in (("yaw", 0.10), ("roll", 0.045), ("nod", 0.16), ("lean", 0.12)):
        scale = 0.12 if name in ("yaw", "roll") else 0.6
        values[name] = scale * values[name] + motion.amount * amount * _wander(times, motion.speed, rng)
    values["yaw"] = values["yaw"] + rng.normal(0.0, 0.06)
    values["roll"] = values["roll"] + rng.normal(0.0, 0.03)
    values["nod"] = values["nod"] + motion.beat * stress
    values["brow_raise"] = values["brow_raise"] + 0.12 * stress
    values["gaze_x"] = 0.3 * values["gaze_x"] + 0.15 * _wander(times, 0.6, rng) - 1.2 * values["yaw"]


def _speak(values: dict[str, Floats], speech: Speech, times: Floats) -> None:
    opening, rounding = articulation(speech, times)
    values["part"] = np.maximum(values["part"], 0.0) * (0.55 + 0.45 * opening) + 0.62 * opening
    values["stretch"] = values["stretch"] - 0.3 * rounding
    values["press"] = values["press"] * (1.0 - np.minimum(1.0, 1.6 * opening))


def _blink(values: dict[str, Floats], times: Floats, duration: float, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        moment = rng.uniform(0.15, duration - 0.15)
        closing = np.exp(-(((times - moment) / 0.05) ** 2))
        values["lid"] = values["lid"] * (1 - closing) - 1.15 * closing
