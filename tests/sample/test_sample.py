"""The sample corpus: complete, reproducible to the byte, real media, and faces and voices that show emotions."""

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


RenderClip = Callable[[Utterance], Clip]


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
def render_clip(tmp_path_factory: pytest.TempPathFactory) -> RenderClip:
    folder = tmp_path_factory.mktemp("sample")
    clips: dict[Utterance, Clip] = {}

    def render_once(utterance: Utterance) -> Clip:
        if utterance not in clips:
            render(utterance, folder)
            clips[utterance] = decode(folder / utterance.path)
        return clips[utterance]

    return render_once


def get_utterance(speaker: str, emotion: str, take: int = 1) -> Utterance:
    (utterance,) = [u for u in CORPUS if u.path == f"{speaker}/{speaker}_{emotion}_{take}.mp4"]
    return replace(utterance, occlusion="none", has_face=True, has_audio=True)


def detect_faces(image: NDArray[np.uint8]) -> list[dict[str, int]]:
    boxes: list[dict[str, int]] = CASCADE.detect_multi_scale(
        image, scale_factor=1.2, step_ratio=1, min_size=(60, 60), max_size=(220, 220)
    )
    return boxes


def test_every_speaker_acts_every_emotion_once_per_sentence() -> None:
    counts = Counter((u.speaker, u.emotion, u.sentence) for u in CORPUS)
    expected = {(f"s{n:02d}", e, f"k{k}") for n in range(1, 5) for e in EMOTIONS for k in (1, 2)}
    assert set(counts) == expected and set(counts.values()) == {1}
    assert [u.path for u in CORPUS] == sorted({u.path for u in CORPUS})


@pytest.mark.parametrize("speakers, utterances", [(2, 1), (4, 2), (12, 3)])
def test_one_clip_has_no_audio_and_another_no_face(speakers: int, utterances: int) -> None:
    clips = plan(SampleConfig(speakers=speakers, utterances=utterances))
    silent, faceless = ([u for u in clips if not u.has_audio], [u for u in clips if not u.has_face])
    assert len(silent) == len(faceless) == 1 and silent != faceless


def test_few_faces_are_occluded() -> None:
    occlusions = Counter(u.occlusion for u in plan(SampleConfig(speakers=30, utterances=5)))
    assert set(occlusions) == {"none", "turned", "covered"}
    assert 0.02 < 1 - occlusions["none"] / occlusions.total() < 0.07


@pytest.mark.parametrize("more", [{"speakers": 6}, {"utterances": 3}, {"speakers": 5, "utterances": 4}])
def test_larger_corpus_keeps_the_clips_of_a_smaller_one(more: dict[str, int]) -> None:
    larger = plan(SampleConfig(**({"speakers": 4, "utterances": 2} | more)))
    assert set(CORPUS) < set(larger)


def test_another_seed_gives_another_corpus(tmp_path: Path) -> None:
    one, other = plan(SampleConfig(seed=1))[0], plan(SampleConfig(seed=2))[0]
    for utterance, name in ((one, "one"), (other, "other")):
        render(utterance, tmp_path / name)
    assert (tmp_path / "one" / one.path).read_bytes() != (tmp_path / "other" / other.path).read_bytes()


@pytest.mark.parametrize("invalid", [{"speakers": 1}, {"utterances": 0}, {"seed": -1}, {"speaker": 3}])
def test_invalid_configuration_is_refused(invalid: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        SampleConfig(**invalid)


@pytest.mark.slow
def test_clip_has_the_same_bytes_in_any_process(tmp_path: Path) -> None:
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
    utterance = get_utterance("s03", "anger")
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


def test_silent_clip_has_only_video_and_faceless_clip_has_no_face(render_clip: RenderClip) -> None:
    (silent,) = [u for u in CORPUS if not u.has_audio]
    (faceless,) = [u for u in CORPUS if not u.has_face]
    assert render_clip(silent).sound is None and len(render_clip(silent).frames) >= 30
    assert render_clip(faceless).sound is not None
    assert not any(detect_faces(frame) for frame in render_clip(faceless).frames[::8])


def test_visible_faces_are_detected(render_clip: RenderClip) -> None:
    visible = [
        get_utterance("s01", "neutral"),
        get_utterance("s02", "happiness"),
        get_utterance("s03", "anger"),
        get_utterance("s04", "fear", 2),
    ]
    detections = [detect_faces(frame) for u in visible for frame in render_clip(u).frames[2::10]]
    assert np.mean([len(boxes) >= 1 for boxes in detections]) > 0.9
    false_detections = [len(boxes) - sum(overlap(boxes[0], box) for box in boxes) for boxes in detections if boxes]
    assert np.mean(false_detections) < 0.05


def overlap(first: dict[str, int], second: dict[str, int]) -> bool:
    return all(
        first[side] < second[side] + second[size] and second[side] < first[side] + first[size]
        for side, size in (("r", "height"), ("c", "width"))
    )


@pytest.mark.parametrize("occlusion", ["turned", "covered"])
def test_faces_are_occluded_for_part_of_the_clip(render_clip: RenderClip, occlusion: str) -> None:
    utterance = replace(get_utterance("s02", "neutral"), occlusion=occlusion)  # type: ignore[arg-type]
    frames = render_clip(utterance).frames
    assert detect_faces(frames[1])
    assert not detect_faces(frames[len(frames) * 6 // 10])


@pytest.mark.parametrize("low, high", [("s01", "s02"), ("s03", "s04")])
def test_pitch_follows_the_speaker(render_clip: RenderClip, low: str, high: str) -> None:
    assert (
        80
        < pitch(render_clip(get_utterance(low, "neutral")))
        < 165
        < pitch(render_clip(get_utterance(high, "neutral")))
        < 290
    )


def pitch(clip: Clip) -> float:
    """Return the median fundamental frequency in Hz, from the autocorrelation of short frames."""
    assert clip.sound is not None
    length = 4096
    frames = clip.sound[: clip.sound.size // length * length].reshape(-1, length)
    loud = frames[np.std(frames, axis=1) > np.std(clip.sound)]
    autocorrelation = np.fft.irfft(np.abs(np.fft.rfft(loud, 2 * length, axis=1)) ** 2, axis=1)
    shortest, longest = clip.rate // 500, clip.rate // 60
    return float(np.median(clip.rate / (shortest + autocorrelation[:, shortest:longest].argmax(axis=1))))


def test_anger_is_louder_brighter_and_faster_than_sadness(render_clip: RenderClip) -> None:
    angry, sad = render_clip(get_utterance("s02", "anger")), render_clip(get_utterance("s02", "sadness"))
    assert angry.sound is not None and sad.sound is not None
    assert np.std(angry.sound) > 1.3 * np.std(sad.sound)
    assert len(angry.frames) < len(sad.frames)

    def overtone_ratio(sound: NDArray[np.float32]) -> float:
        power = np.abs(np.fft.rfft(sound)) ** 2
        bins = np.fft.rfftfreq(sound.size, 1 / angry.rate)
        return float(power[(bins > 1000) & (bins < 4000)].sum() / power[bins < 1000].sum())

    assert overtone_ratio(angry.sound) > 1.5 * overtone_ratio(sad.sound)


def test_mouth_moves_with_the_audio(render_clip: RenderClip) -> None:
    clip = render_clip(get_utterance("s02", "neutral"))
    assert clip.sound is not None
    box = max((b for frame in clip.frames[:3] for b in detect_faces(frame)), key=lambda b: b["width"])
    top, left, size = box["r"], box["c"], box["width"]
    mouth = clip.frames[:, top + size // 2 : top + size, left + size // 4 : left + 3 * size // 4]
    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in mouth]).astype(float)
    change = np.abs(grey - grey[:2].mean(axis=0)).mean(axis=(1, 2))
    block = clip.rate // 25
    count = min(len(change), clip.sound.size // block)
    loudness = np.sqrt((clip.sound[: count * block].reshape(count, block) ** 2).mean(axis=1))
    # The encoder delays the audio by about a frame, so lags of one frame are allowed.
    aligned = [np.corrcoef(np.roll(loudness, lag), change[:count])[0, 1] for lag in (-1, 0, 1)]
    assert max(aligned) > 0.6
    shifted = np.corrcoef(np.roll(loudness, count // 3), change[:count])[0, 1]
    assert max(aligned) > shifted + 0.3


def test_eyes_are_wider_in_surprise_than_in_sadness(render_clip: RenderClip) -> None:
    for speaker in ("s01", "s02"):
        wide, low = (eye_whites(render_clip(get_utterance(speaker, emotion, 2))) for emotion in ("surprise", "sadness"))
        assert wide > 4 * low


def eye_whites(clip: Clip) -> float:
    """Return the share of bright grey pixels, which only eyes have, around the eyes of the detected faces."""
    shares = []
    for frame in clip.frames[4::8]:
        for box in detect_faces(frame)[:1]:
            top, left, size = box["r"], box["c"], box["width"]
            eyes = frame[top + size // 5 : top + size // 2, left + size // 6 : left + size * 5 // 6].astype(int)
            shares.append(((np.ptp(eyes, axis=-1) < 30) & (eyes.min(axis=-1) > 130)).mean())
    return float(np.mean(shares))
