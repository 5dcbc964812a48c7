"""The sample corpus: complete, repeatable to the byte, real media, people who move and sound as acted."""

import multiprocessing
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from pydantic import ValidationError
from skimage.feature import Cascade

from data_manifest.sample import EMOTIONS, SampleConfig, Utterance, plan, render

CASCADE = Cascade(skimage.data.lbp_frontal_face_cascade_filename())
CORPUS = plan(SampleConfig(speakers=4, utterances=2))


@dataclass(frozen=True)
class Clip:
    """A decoded clip: frames (n, 256, 256, 3) uint8 RGB, sound (samples,) float32 or None."""

    frames: NDArray[Any]
    sound: NDArray[Any] | None
    rate: int


Watch = Callable[[Utterance], Clip]


def decode(file: Path) -> Clip:
    with av.open(str(file)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(file)) as container:
        if not container.streams.audio:
            return Clip(frames, None, 0)
        rate = container.streams.audio[0].rate
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return Clip(frames, sound, rate)


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    folder = tmp_path_factory.mktemp("sample")
    seen: dict[Utterance, Clip] = {}

    def rendered(utterance: Utterance) -> Clip:
        if utterance not in seen:
            render(utterance, folder)
            seen[utterance] = decode(folder / utterance.path)
        return seen[utterance]

    return rendered


def find(speaker: str, emotion: str, take: int = 1) -> Utterance:
    (utterance,) = [u for u in CORPUS if u.path == f"{speaker}/{speaker}_{emotion}_{take}.mp4"]
    return replace(utterance, obstacle="none", present=True, audible=True)


def find_faces(picture: NDArray[np.uint8]) -> list[dict[str, int]]:
    found: list[dict[str, int]] = CASCADE.detect_multi_scale(
        picture, scale_factor=1.2, step_ratio=1, min_size=(60, 60), max_size=(220, 220)
    )
    return found


def test_every_speaker_acts_every_emotion_in_every_sentence_once() -> None:
    seen = Counter((u.speaker, u.emotion, u.sentence) for u in CORPUS)
    expected = {(f"s{n:02d}", e, f"k{k}") for n in range(1, 5) for e in EMOTIONS for k in (1, 2)}
    assert set(seen) == expected and set(seen.values()) == {1}
    assert [u.path for u in CORPUS] == sorted({u.path for u in CORPUS})


@pytest.mark.parametrize("speakers, utterances", [(2, 1), (4, 2), (12, 3)])
def test_one_clip_has_no_sound_and_another_no_face(speakers: int, utterances: int) -> None:
    clips = plan(SampleConfig(speakers=speakers, utterances=utterances))
    silent, empty = ([u for u in clips if not u.audible], [u for u in clips if not u.present])
    assert len(silent) == len(empty) == 1 and silent != empty


def test_some_faces_are_hidden_but_not_many() -> None:
    hidden = Counter(u.obstacle for u in plan(SampleConfig(speakers=30, utterances=5)))
    assert set(hidden) == {"none", "turned", "covered"}
    assert 0.02 < 1 - hidden["none"] / hidden.total() < 0.07


@pytest.mark.parametrize("more", [{"speakers": 6}, {"utterances": 3}, {"speakers": 5, "utterances": 4}])
def test_a_larger_corpus_keeps_the_clips_of_a_smaller_one(more: dict[str, int]) -> None:
    larger = plan(SampleConfig(**({"speakers": 4, "utterances": 2} | more)))
    assert set(CORPUS) < set(larger)


def test_another_seed_is_another_corpus(tmp_path: Path) -> None:
    one, other = plan(SampleConfig(seed=1))[0], plan(SampleConfig(seed=2))[0]
    for utterance, name in ((one, "one"), (other, "other")):
        render(utterance, tmp_path / name)
    assert (tmp_path / "one" / one.path).read_bytes() != (tmp_path / "other" / other.path).read_bytes()


@pytest.mark.parametrize("wrong", [{"speakers": 1}, {"utterances": 0}, {"seed": -1}, {"speaker": 3}])
def test_a_configuration_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        SampleConfig(**wrong)


def test_the_same_clip_has_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    utterance = CORPUS[3]
    render(CORPUS[20], tmp_path / "before")
    for name in ("first", "second"):
        render(utterance, tmp_path / name)
    process = multiprocessing.get_context("spawn").Process(target=render, args=(utterance, tmp_path / "third"))
    process.start()
    process.join()
    first, second, third = ((tmp_path / name / utterance.path).read_bytes() for name in ("first", "second", "third"))
    assert first == second == third
    assert [p.name for p in (tmp_path / "first").rglob("*") if p.is_file()] == [Path(utterance.path).name]


def test_clips_are_real_media(tmp_path: Path) -> None:
    utterance = find("s03", "anger")
    render(utterance, tmp_path)
    with av.open(str(tmp_path / utterance.path)) as container:
        (video,), (audio,) = container.streams.video, container.streams.audio
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, str(video.average_rate)) == (256, 256, "25")
        assert (audio.rate, audio.channels) == (44100, 1)
        assert "mp4" in container.format.name
    clip = decode(tmp_path / utterance.path)
    assert 1.2 <= len(clip.frames) / 25 <= 1.9
    assert clip.sound is not None
    assert abs(clip.sound.size / clip.rate - len(clip.frames) / 25) < 0.05
    assert (tmp_path / utterance.path).stat().st_size < 60_000


def test_the_silent_clip_has_pictures_only_and_the_empty_one_nobody(watch: Watch) -> None:
    (silent,) = [u for u in CORPUS if not u.audible]
    (empty,) = [u for u in CORPUS if not u.present]
    assert watch(silent).sound is None and len(watch(silent).frames) >= 30
    assert watch(empty).sound is not None
    assert not any(find_faces(frame) for frame in watch(empty).frames[::8])


def test_faces_are_found_where_they_are_shown(watch: Watch) -> None:
    shown = [find("s01", "neutral"), find("s02", "happiness"), find("s03", "anger"), find("s04", "fear", 2)]
    found = [find_faces(frame) for u in shown for frame in watch(u).frames[2::10]]
    assert np.mean([len(boxes) >= 1 for boxes in found]) > 0.9
    apart = [len(boxes) - sum(overlaps(boxes[0], box) for box in boxes) for boxes in found if boxes]
    assert np.mean(apart) < 0.05


def overlaps(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[side] < other[side] + other[size] and other[side] < one[side] + one[size]
        for side, size in (("r", "height"), ("c", "width"))
    )


@pytest.mark.parametrize("obstacle", ["turned", "covered"])
def test_hidden_faces_are_hidden_for_part_of_the_time(watch: Watch, obstacle: str) -> None:
    utterance = replace(find("s02", "neutral"), obstacle=obstacle)  # type: ignore[arg-type]
    frames = watch(utterance).frames
    assert find_faces(frames[1])
    assert not find_faces(frames[len(frames) * 6 // 10])


@pytest.mark.parametrize("low, high", [("s01", "s02"), ("s03", "s04")])
def test_pitch_follows_the_speaker(watch: Watch, low: str, high: str) -> None:
    assert 80 < pitch(watch(find(low, "neutral"))) < 165 < pitch(watch(find(high, "neutral"))) < 290


def pitch(clip: Clip) -> float:
    """Middle fundamental frequency in Hz: where short stretches of sound resemble themselves the most."""
    assert clip.sound is not None
    length = 4096
    frames = clip.sound[: clip.sound.size // length * length].reshape(-1, length)
    loud = frames[np.std(frames, axis=1) > np.std(clip.sound)]
    alike = np.fft.irfft(np.abs(np.fft.rfft(loud, 2 * length, axis=1)) ** 2, axis=1)
    shortest, longest = clip.rate // 500, clip.rate // 60
    return float(np.median(clip.rate / (shortest + alike[:, shortest:longest].argmax(axis=1))))


def test_anger_is_louder_brighter_and_faster_than_sadness(watch: Watch) -> None:
    angry, sad = watch(find("s02", "anger")), watch(find("s02", "sadness"))
    assert angry.sound is not None and sad.sound is not None
    assert np.std(angry.sound) > 1.3 * np.std(sad.sound)
    assert len(angry.frames) < len(sad.frames)

    def overtones(sound: NDArray[np.float32]) -> float:
        power = np.abs(np.fft.rfft(sound)) ** 2
        bins = np.fft.rfftfreq(sound.size, 1 / angry.rate)
        return float(power[(bins > 1000) & (bins < 4000)].sum() / power[bins < 1000].sum())

    assert overtones(angry.sound) > 1.5 * overtones(sad.sound)


def test_the_mouth_moves_with_the_sound(watch: Watch) -> None:
    clip = watch(find("s02", "neutral"))
    assert clip.sound is not None
    box = max((b for frame in clip.frames[:3] for b in find_faces(frame)), key=lambda b: b["width"])
    top, left, size = box["r"], box["c"], box["width"]
    mouth = clip.frames[:, top + size // 2 : top + size, left + size // 4 : left + 3 * size // 4]
    grey = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in mouth]).astype(float)
    change = np.abs(grey - grey[:2].mean(axis=0)).mean(axis=(1, 2))
    block = clip.rate // 25
    count = min(len(change), clip.sound.size // block)
    loudness = np.sqrt((clip.sound[: count * block].reshape(count, block) ** 2).mean(axis=1))
    # The encoder delays the sound by about a frame, so neighbours count as together.
    together = [np.corrcoef(np.roll(loudness, lag), change[:count])[0, 1] for lag in (-1, 0, 1)]
    assert max(together) > 0.6
    later = np.corrcoef(np.roll(loudness, count // 3), change[:count])[0, 1]
    assert max(together) > later + 0.3


def test_surprise_opens_the_eyes_that_sadness_lowers(watch: Watch) -> None:
    for speaker in ("s01", "s02"):
        wide, low = (eye_whites(watch(find(speaker, emotion, 2))) for emotion in ("surprise", "sadness"))
        assert wide > 4 * low


def eye_whites(clip: Clip) -> float:
    """How much of the upper half of the faces found is bright and without colour, as only eyes are there."""
    shares = []
    for frame in clip.frames[4::8]:
        for box in find_faces(frame)[:1]:
            top, left, size = box["r"], box["c"], box["width"]
            eyes = frame[top + size // 5 : top + size // 2, left + size // 6 : left + size * 5 // 6].astype(int)
            shares.append(((np.ptp(eyes, axis=-1) < 30) & (eyes.min(axis=-1) > 130)).mean())
    return float(np.mean(shares))
