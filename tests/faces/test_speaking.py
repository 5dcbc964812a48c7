"""Whose mouth moves with the sound: scenes of two people of whom one speaks."""

from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import write_media
from numpy.typing import NDArray
from skimage.data import astronaut

from pipeline.faces.crops import FacesConfig, extract_faces
from pipeline.faces.step import write_faces
from pipeline.media.audio import read_audio
from pipeline.media.files import ClipFiles
from pipeline.media.frames import SampledFrames
from pipeline.memo.extraction import ClipJob
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES

FPS, RATE_HZ, SECONDS = 25, 16000, 3
FACE = np.asarray(astronaut()[0:200, 124:324], np.uint8)  # her mouth is at (99, 128)
MOUTH_XY = (99, 130)


def write_scene(path: Path, *, speaker: int, lag_s: float = 0.0, with_sound: bool = True, seed: int = 0) -> Path:
    """Write two faces, the left one smaller: the speaker's mouth moves during the sound, the other's at other times."""
    rng = np.random.default_rng(seed)
    phase = np.arange(SECONDS * FPS) / FPS * 2 * np.pi * 4.3  # syllables
    talks, chews = (np.repeat(rng.permutation([0, 0, 0, 1, 1, 1]), SECONDS * FPS // 6 + 1)[: len(phase)] for _ in "ab")
    opening, other = talks * (0.5 + 0.5 * np.sin(phase)), chews * (0.5 + 0.5 * np.cos(phase))
    frames = np.stack(
        [
            _draw([now, elsewhere] if speaker == 0 else [elsewhere, now], number)
            for number, (now, elsewhere) in enumerate(zip(opening, other, strict=True))
        ]
    )
    times = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    loudness = np.interp(times - lag_s, np.arange(len(talks)) / FPS, talks)
    sound = (loudness * rng.uniform(-0.9, 0.9, len(times))).astype(np.float32)
    return write_media(path, frames=frames, sound=sound if with_sound else None, fps=FPS, rate_hz=RATE_HZ)


def _draw(openings: list[float], number: int) -> NDArray[np.uint8]:
    faces = []
    for opening, scale in zip(openings, (0.8, 1.0), strict=True):
        face = FACE.copy()
        cv2.ellipse(face, (MOUTH_XY, (30, 2 + 16 * opening), 0), (60, 10, 10), -1)
        size = round(scale * 200)
        faces.append(np.pad(cv2.resize(face, (size, size)), ((200 - size, 0), (0, 0), (0, 0)), mode="edge"))
    scene = np.concatenate([faces[0], np.full((200, 40, 3), 90, np.uint8), faces[1]], 1)
    return np.asarray(np.roll(scene, round(3 * np.sin(number / 5)), 1), np.uint8)  # both heads sway


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("speaker", "lag_s"), [(0, 0.0), (1, 0.0), (0, 0.2), (1, -0.2)])
def test_the_face_of_the_one_who_speaks_is_taken(speaker: int, lag_s: float, seed: int, tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.mp4", speaker=speaker, lag_s=lag_s, seed=seed)
    faces = extract_faces(path, FacesConfig(person="moving_mouth", size_px=32))
    is_right = faces.boxes[:, [0, 2]].mean() > 180
    assert (faces.face_counts == 2).mean() > 0.5
    assert is_right == bool(speaker)
    assert (faces.leads > 0.2).all()


@pytest.mark.parametrize("is_mute", [True, False])
def test_a_separate_sound_is_the_one_that_counts(is_mute: bool, tmp_path: Path) -> None:
    """A muted video with its sound in a WAV file, or a video whose own sound goes with the other, larger face."""
    sound = read_audio(write_scene(tmp_path / "sound.mp4", speaker=0), rate_hz=RATE_HZ)
    audio = write_media(tmp_path / "a.wav", sound=sound, rate_hz=RATE_HZ)
    video = mute = write_scene(tmp_path / "mute.mp4", speaker=0, with_sound=False)
    if not is_mute:
        other = read_audio(write_scene(tmp_path / "other.mp4", speaker=1, seed=5), rate_hz=RATE_HZ)
        _, frames = zip(*sorted(SampledFrames(mute, count=SECONDS * FPS), key=itemgetter(0)), strict=True)
        video = write_media(tmp_path / "a.mp4", frames=np.stack(frames), sound=other, fps=FPS, rate_hz=RATE_HZ)
    config = FacesConfig(person="moving_mouth", size_px=32)
    jobs = [ClipJob("a", "0", lambda: ClipFiles(video, audio)), ClipJob("b", "1", lambda: ClipFiles(video, tmp_path))]
    run = ExecutionConfig(scheduler="synchronous", max_failures=1)
    summary = write_faces(tmp_path / "a.h5", jobs, config, run=run, quiet=True)
    faces = Reader(tmp_path / "a.h5", schema=FACES)["a"]
    assert faces.boxes[:, [0, 2]].mean() < 180
    assert (faces.leads > 0.2).all()
    assert summary.failures == {"b": "cannot be decoded: it is not a regular file"}  # not the largest face, quietly


def test_without_sound_or_without_another_face_the_largest_is_taken(tmp_path: Path) -> None:
    mute = write_scene(tmp_path / "mute.mp4", speaker=0, with_sound=False)
    for person in ("moving_mouth", "largest"):
        faces = extract_faces(mute, FacesConfig.model_validate({"person": person, "size_px": 32}))
        assert faces.boxes[:, [0, 2]].mean() > 180
        assert np.isnan(faces.leads).all() == (person == "moving_mouth")


def test_the_face_that_is_seen_longest_may_be_the_smaller_one(tmp_path: Path) -> None:
    both = _draw([0.3, 0.3], 0)
    left_only = both.copy()
    left_only[:, 180:] = 90
    path = write_media(tmp_path / "a.mp4", frames=np.stack([left_only] * 3 + [both] * 7))
    options = {"frames_per_clip": 10, "size_px": 32}
    for person, is_right in (("largest", True), ("longest", False)):
        faces = extract_faces(path, FacesConfig.model_validate({"person": person, **options}))
        assert (faces.boxes[:, [0, 2]].mean() > 180) == is_right
