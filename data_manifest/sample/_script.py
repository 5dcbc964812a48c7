"""Which clips the sample corpus has: a pure function of its configuration."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.base.params import Config

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
# The two flawed recordings every corpus has, placed where even the smallest configuration contains them.
SILENT_CLIP = "s02/s02_disgust_1.mp4"
EMPTY_CLIP = "s01/s01_surprise_1.mp4"
HIDDEN_SHARE = 0.04

Obstacle = Literal["none", "turned", "covered"]


class Stream(IntEnum):
    """Independent sources of chance; the numbers enter the seeds, so they must never be reused."""

    OBSTACLE = 1
    PERSON = 2
    STYLE = 3
    SENTENCE = 4
    ACTING = 5
    VOICE = 6
    CAMERA = 7


class SampleConfig(Config):
    """An entry of the section `render`: how large the sample corpus is, and which one of all possible ones."""

    speakers: int = Field(default=10, ge=2, le=99)
    """Invented speakers."""
    utterances: int = Field(default=3, ge=1, le=99)
    """Clips of each speaker and emotion."""
    seed: int = Field(default=1, ge=0)
    """Another seed draws other people, voices and scenes."""


@dataclass(frozen=True)
class Utterance:
    """Everything needed to render one clip."""

    path: str
    speaker: str
    emotion: str
    sentence: str
    seed: int
    number: int
    take: int
    audible: bool = True
    present: bool = True
    obstacle: Obstacle = "none"

    def generator(self, stream: Stream) -> np.random.Generator:
        """Chance that belongs to this clip alone."""
        return generator(self.seed, stream, self.number, EMOTIONS.index(self.emotion), self.take)


def generator(seed: int, stream: Stream, *numbers: int) -> np.random.Generator:
    """A random generator that depends on nothing but these integers."""
    return np.random.default_rng(np.random.SeedSequence([seed, int(stream), *numbers]))


def plan(config: SampleConfig) -> list[Utterance]:
    """The whole corpus, sorted by path; a larger configuration only adds clips."""
    clips = [
        _utterance(config.seed, number, emotion, take)
        for number in range(1, config.speakers + 1)
        for emotion in EMOTIONS
        for take in range(1, config.utterances + 1)
    ]
    return sorted(clips, key=lambda clip: clip.path)


def _utterance(seed: int, number: int, emotion: str, take: int) -> Utterance:
    speaker = f"s{number:02d}"
    path = f"{speaker}/{speaker}_{emotion}_{take}.mp4"
    present = path != EMPTY_CLIP
    return Utterance(
        path=path,
        speaker=speaker,
        emotion=emotion,
        sentence=f"k{take}",
        seed=seed,
        number=number,
        take=take,
        audible=path != SILENT_CLIP,
        present=present,
        obstacle=_obstacle(seed, number, emotion, take) if present else "none",
    )


def _obstacle(seed: int, number: int, emotion: str, take: int) -> Obstacle:
    rng = generator(seed, Stream.OBSTACLE, number, EMOTIONS.index(emotion), take)
    if rng.random() >= HIDDEN_SHARE:
        return "none"
    return "turned" if rng.random() < 0.5 else "covered"
