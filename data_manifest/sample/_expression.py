"""How each emotion changes face and voice over time, with variation between speakers and takes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_manifest.sample._plan import EMOTIONS, Stream, Utterance, random_generator
from data_manifest.sample._speakers import Speaker
from data_manifest.sample._speech import Speech, articulation

Floats = NDArray[np.float64]

# Standard deviations of a pose: between speakers at rest, between speakers per emotion, and between takes.
RESTING_SPREAD = 0.09
STYLE_SPREAD = 0.14
TAKE_SPREAD = 0.04
# The range of expression strength of a take, for face and voice.
FACE_STRENGTH = (0.9, 1.1)
VOICE_STRENGTH = (0.85, 1.1)


class Pose(NamedTuple):
    """A face at one moment; 0 is rest and 1 is a strong movement.

    Flush ranges from pale to red; angles are in radians and gaze is in iris widths.
    """

    brow_raise: float = 0.0
    brow_tilt: float = 0.0
    brow_squeeze: float = 0.0
    lid: float = 0.0
    squint: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    smile: float = 0.0
    mouth_open: float = 0.0
    stretch: float = 0.0
    press: float = 0.0
    sneer: float = 0.0
    nod: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    lean: float = 0.0
    flush: float = 0.0


class Prosody(NamedTuple):
    """How a voice differs from rest: semitones, factors, dB, dB per octave and shares."""

    pitch: float = 0.0
    swing: float = 1.0
    slope: float = -2.0
    energy: float = 0.0
    tempo: float = 1.0
    tilt: float = 0.0
    breath: float = 0.0
    jitter: float = 0.0
    tremor: float = 0.0


# Anger and disgust have similar faces, as have fear and surprise: only the voice distinguishes them.
FACES = {
    "anger": Pose(
        brow_raise=-1.0,
        brow_tilt=-0.9,
        brow_squeeze=1.0,
        squint=0.7,
        smile=-0.6,
        mouth_open=0.1,
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
        mouth_open=0.1,
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
        mouth_open=0.7,
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
        mouth_open=0.4,
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
        mouth_open=-0.2,
        stretch=-0.2,
        press=0.3,
        nod=0.7,
        lean=-0.1,
        flush=-0.3,
    ),
    "surprise": Pose(
        brow_raise=1.15, brow_tilt=0.3, lid=0.85, smile=-0.05, mouth_open=0.85, stretch=-0.1, nod=-0.3, flush=-0.55
    ),
}
# Anger, happiness and surprise have similar voices, as have disgust, neutral and sadness: the face distinguishes them.
PROSODIES = {
    "anger": Prosody(pitch=4.5, swing=1.5, slope=-2.5, energy=4.5, tempo=0.88, tilt=3.0, jitter=0.012),
    "disgust": Prosody(pitch=-1.0, swing=0.7, slope=-2.5, energy=-2.5, tempo=1.12, tilt=-2.0, breath=0.08, jitter=0.01),
    "fear": Prosody(
        pitch=6.0, swing=0.6, slope=0.5, energy=-1.0, tempo=0.84, tilt=-0.5, breath=0.4, jitter=0.015, tremor=0.5
    ),
    "happiness": Prosody(pitch=5.0, swing=1.8, slope=-0.5, energy=3.5, tempo=0.92, tilt=2.5, breath=0.04, jitter=0.004),
    "neutral": Prosody(pitch=-0.3, swing=0.7, energy=-1.5, tempo=1.02, tilt=-1.0, breath=0.03, jitter=0.004),
    "sadness": Prosody(
        pitch=-1.5, swing=0.5, slope=-2.5, energy=-4.0, tempo=1.15, tilt=-3.0, breath=0.16, jitter=0.006
    ),
    "surprise": Prosody(pitch=5.8, swing=1.8, slope=3.0, energy=3.0, tempo=0.94, tilt=2.0, breath=0.06, jitter=0.004),
}
# One standard deviation of a speaker's style, for each field of Prosody.
PROSODY_SPREAD = Prosody(1.6, 0.25, 1.2, 1.8, 0.05, 1.2, 0.06, 0.003, 0.08)
# Gaze and head angles drift anyway; a large constant offset per speaker would only blur the expression.
DRIFTING = [Pose._fields.index(name) for name in ("gaze_x", "gaze_y", "nod", "yaw", "roll", "lean")]
# Factors and shares are never negative.
NON_NEGATIVE = [Prosody._fields.index(name) for name in ("swing", "breath", "jitter", "tremor")]


@dataclass(frozen=True)
class Motion:
    """Head motion: amplitude as a factor, speed in Hz, and size of the nod on a stressed syllable."""

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


def make_prosody(utterance: Utterance, speaker: Speaker) -> Prosody:
    """Return the prosody of this speaker for this emotion and take."""
    rng = utterance.random_generator(Stream.VOICE)
    style = _style_generator(utterance, 1).normal(0.0, 1.0, len(Prosody()))
    strength = speaker.voice_strength * rng.uniform(*VOICE_STRENGTH)
    rest, acted = np.array(Prosody()), np.array(PROSODIES[utterance.emotion])
    noise = 0.85 * style + 0.3 * rng.normal(0.0, 1.0, rest.size)
    values = rest + strength * (acted - rest) + np.array(PROSODY_SPREAD) * noise
    values[NON_NEGATIVE] = np.maximum(values[NON_NEGATIVE], 0.0)
    return Prosody(*values.tolist())


def make_poses(utterance: Utterance, speaker: Speaker, speech: Speech, times: Floats) -> list[Pose]:
    """Return one pose for each of the (n,) times in seconds."""
    rng = utterance.random_generator(Stream.EXPRESSION)
    acted = np.array(FACES[utterance.emotion])
    resting = _style_generator(utterance, 0, rest=True).normal(0.0, RESTING_SPREAD, acted.size)
    style = _style_generator(utterance, 0).normal(0.0, STYLE_SPREAD, acted.size)
    noise = rng.normal(0.0, TAKE_SPREAD, acted.size)
    strength = speaker.face_strength * rng.uniform(*FACE_STRENGTH)
    steady = strength * acted + style + noise
    resting[DRIFTING] *= 0.4
    intensity = _intensity_curve(times, speech.duration, rng)
    track = resting + intensity[:, None] * steady
    values = dict(zip(Pose._fields, track.T, strict=True))
    _add_head_motion(values, utterance, speech, times, rng)
    _add_mouth_motion(values, speech, times)
    _add_blink(values, times, speech.duration, rng)
    return [Pose(*row) for row in np.stack(list(values.values()), axis=1).tolist()]


def _style_generator(utterance: Utterance, modality: int, *, rest: bool = False) -> np.random.Generator:
    emotion = len(EMOTIONS) if rest else EMOTIONS.index(utterance.emotion)
    return random_generator(utterance.seed, Stream.STYLE, utterance.speaker_number, emotion, modality)


def _intensity_curve(times: Floats, duration: float, rng: np.random.Generator) -> Floats:
    """Return the intensity at those times, (n,): a rise from half to full, a fall at the end, and a slow tremble."""
    onset = rng.uniform(0.2, 0.45)
    rise = np.clip(times / onset, 0.0, 1.0)
    fall = np.clip((duration - times) / 0.35, 0.0, 1.0)
    tremble = 0.06 * np.sin(2 * np.pi * (rng.uniform(1.0, 2.0) * times + rng.random()))
    return (0.45 + 0.55 * rise * rise * (3 - 2 * rise)) * (0.75 + 0.25 * fall) + tremble


def _drift(times: Floats, speed: float, rng: np.random.Generator) -> Floats:
    """Return a smooth random movement at those times, (n,), about -1 to 1."""
    rates, phases = speed * rng.uniform(0.5, 1.3, 3), rng.random(3)
    drift: Floats = np.sin(2 * np.pi * (times[:, None] * rates + phases)).mean(axis=1) * 1.5
    return drift


def _add_head_motion(
    values: dict[str, Floats], utterance: Utterance, speech: Speech, times: Floats, rng: np.random.Generator
) -> None:
    motion = MOTIONS[utterance.emotion]
    stress = sum(
        (np.exp(-(((times - s.start - 0.12) / 0.09) ** 2)) * (0.4 + s.stress) for s in speech.syllables),
        start=np.zeros_like(times),
    )
    for name, amount in (("yaw", 0.10), ("roll", 0.045), ("nod", 0.16), ("lean", 0.12)):
        scale = 0.12 if name in ("yaw", "roll") else 0.6
        values[name] = scale * values[name] + motion.amount * amount * _drift(times, motion.speed, rng)
    values["yaw"] = values["yaw"] + rng.normal(0.0, 0.06)
    values["roll"] = values["roll"] + rng.normal(0.0, 0.03)
    values["nod"] = values["nod"] + motion.beat * stress
    values["brow_raise"] = values["brow_raise"] + 0.12 * stress
    values["gaze_x"] = 0.3 * values["gaze_x"] + 0.15 * _drift(times, 0.6, rng) - 1.2 * values["yaw"]


def _add_mouth_motion(values: dict[str, Floats], speech: Speech, times: Floats) -> None:
    opening, rounding = articulation(speech, times)
    values["mouth_open"] = np.maximum(values["mouth_open"], 0.0) * (0.55 + 0.45 * opening) + 0.62 * opening
    values["stretch"] = values["stretch"] - 0.3 * rounding
    values["press"] = values["press"] * (1.0 - np.minimum(1.0, 1.6 * opening))


def _add_blink(values: dict[str, Floats], times: Floats, duration: float, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        moment = rng.uniform(0.15, duration - 0.15)
        closing = np.exp(-(((times - moment) / 0.05) ** 2))
        values["lid"] = values["lid"] * (1 - closing) - 1.15 * closing
