"""From a planned utterance to an MP4 file, the same bytes each time."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from data_manifest.sample import _scene as scene
from data_manifest.sample._acting import Pose, manner, poses
from data_manifest.sample._people import person
from data_manifest.sample._script import Stream, Utterance
from data_manifest.sample._speech import Speech, speak
from data_manifest.sample._voice import RATE, synthesise
from pipeline.base.files import atomic_write

FRAME_RATE = 25
VIDEO_OPTIONS = {"crf": "24", "preset": "veryfast", "threads": "1"}
AUDIO_OPTIONS = {"aac_coder": "fast"}
AUDIO_BITS = 80_000
AUDIO_BLOCK = 1024


def render(utterance: Utterance, folder: Path) -> None:
    """Write the clip to its path below `folder`; a file of that name is always complete."""
    # OpenCV's own threads would fight with the caller's workers.
    cv2.setNumThreads(1)
    with atomic_write(folder / utterance.path) as temporary:
        _write(utterance, temporary)


def _write(utterance: Utterance, file: Path) -> None:
    someone = person(utterance.seed, utterance.number)
    how = manner(utterance, someone)
    rng = utterance.generator(Stream.VOICE)
    tempo = how.tempo * someone.voice.tempo
    speech = speak(utterance.seed, utterance.take, tempo=tempo, frame_rate=FRAME_RATE, rng=rng)
    sound = synthesise(speech, someone.voice, how, rng) if utterance.audible else None
    with av.open(str(file), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options=VIDEO_OPTIONS)
        video.width = video.height = scene.SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=RATE, layout="mono", options=AUDIO_OPTIONS)
            audio.bit_rate = AUDIO_BITS
        for index, picture in enumerate(_pictures(utterance, speech)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            for block in _blocks(sound):
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))


def _pictures(utterance: Utterance, speech: Speech) -> Iterator[NDArray[np.uint8]]:
    someone = person(utterance.seed, utterance.number)
    stage = scene.build(utterance, someone)
    times = np.arange(round(speech.duration * FRAME_RATE)) / FRAME_RATE
    hidden = _hidden(utterance, times, speech.duration)
    rng = utterance.generator(Stream.CAMERA).spawn(1)[0]
    for pose, share in zip(poses(utterance, someone, speech, times), hidden, strict=True):
        yield scene.film(
            stage,
            _turn_away(pose, share) if utterance.obstacle == "turned" else pose,
            covered=float(share) if utterance.obstacle == "covered" else 0.0,
            rng=rng,
        )


def _hidden(utterance: Utterance, times: NDArray[np.float64], duration: float) -> NDArray[np.float64]:
    """How far the face is turned away or covered at those times, (n,) in 0 to 1."""
    rng = utterance.generator(Stream.OBSTACLE)
    begin, end = rng.uniform(0.1, 0.4) * duration, rng.uniform(0.75, 1.1) * duration
    rise = np.clip((times - begin) / 0.25, 0.0, 1.0)
    fall = np.clip((end - times) / 0.25, 0.0, 1.0)
    share = np.minimum(rise, fall)
    smooth: NDArray[np.float64] = share * share * (3 - 2 * share)
    return smooth


def _turn_away(pose: Pose, share: float) -> Pose:
    side = 1 if pose.yaw >= 0 else -1
    return pose._replace(yaw=pose.yaw + side * scene.TURNED_AWAY * share)


def _blocks(sound: NDArray[np.float32]) -> Iterator[av.AudioFrame]:
    for start in range(0, sound.size, AUDIO_BLOCK):
        block = av.AudioFrame.from_ndarray(sound[None, start : start + AUDIO_BLOCK], format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = RATE, start, Fraction(1, RATE)
        yield block
