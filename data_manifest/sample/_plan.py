"""The clips of the sample corpus: a pure function of its configuration."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.base.params import Config, Seed

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
# Two clips with a missing modality; even the smallest configuration contains both.
SILENT_CLIP = "s02/s02_disgust_1.mp4"
FACELESS_CLIP = "s01/s01_surprise_1.mp4"
OCCLUDED_SHARE = 0.04

Occlusion = Literal["none", "turned", "covered"]


class Stream(IntEnum):
    """Independent random streams. The numbers are part of the seeds, so never change or reuse one."""

    OCCLUSION = 1
    SPEAKER = 2
    STYLE = 3
    SENTENCE = 4
    EXPRESSION = 5
    VOICE = 6
    CAMERA = 7


class SampleConfig(Config):
    """An entry of the section `render`: the size and the seed of the sample corpus."""

    speakers: int = Field(default=10, ge=2, le=99)
    """Invented speakers."""
    utterances: int = Field(default=3, ge=1, le=99)
    """Clips of each speaker and emotion."""
    seed: Seed = 1
    """Another seed renders other people, voices and scenes."""


@dataclass(frozen=True)
class Utterance:
    """Everything needed to render one clip."""

    path: str
    speaker: str
    emotion: str
    sentence: str
    seed: int
    speaker_number: int
    take: int
    has_audio: bool = True
    has_face: bool = True
    occlusion: Occlusion = "none"

    def random_generator(self, stream: Stream) -> np.random.Generator:
        """Return a random generator for one stream of this clip."""
        return random_generator(self.seed, stream, self.speaker_number, EMOTIONS.index(self.emotion), self.take)


def random_generator(seed: int, stream: Stream, *numbers: int) -> np.random.Generator:
    """Return a random generator that depends only on these integers."""
    return np.random.default_rng(np.random.SeedSequence([seed, int(stream), *numbers]))


def plan(config: SampleConfig) -> list[Utterance]:
    """Return all utterances, sorted by path; a larger configuration only adds clips."""
    clips = [
        _make_utterance(config.seed, number, emotion, take)
        for number in range(1, config.speakers + 1)
        for emotion in EMOTIONS
        for take in range(1, config.utterances + 1)
    ]
    return sorted(clips, key=lambda clip: clip.path)


def _make_utterance(seed: int, number: int, emotion: str, take: int) -> Utterance:
    speaker = f"s{number:02d}"
    path = f"{speaker}/{speaker}_{emotion}_{take}.mp4"
    has_face = path != FACELESS_CLIP
    return Utterance(
        path=path,
        speaker=speaker,
        emotion=emotion,
        sentence=f"k{take}",
        seed=seed,
        speaker_number=number,
        take=take,
        has_audio=path != SILENT_CLIP,
        has_face=has_face,
        occlusion=_draw_occlusion(seed, number, emotion, take) if has_face else "none",
    )


def _draw_occlusion(seed: int, number: int, emotion: str, take: int) -> Occlusion:
    rng = random_generator(seed, Stream.OCCLUSION, number, EMOTIONS.index(emotion), take)
    if rng.random() >= OCCLUDED_SHARE:
        return "none"
    return "turned" if rng.random() < 0.5 else "covered"
