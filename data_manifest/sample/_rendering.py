"""Render a planned utterance to an MP4 file, byte for byte reproducible."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from data_manifest.sample._expression import Pose, make_poses, make_prosody
from data_manifest.sample._plan import Stream, Utterance
from data_manifest.sample._scene import SIZE, TURNED_AWAY_RAD, build_scene, render_frame
from data_manifest.sample._speakers import make_speaker
from data_manifest.sample._speech import Speech, make_speech
from data_manifest.sample._voice import RATE, synthesise
from pipeline.base.files import atomic_write

FRAME_RATE = 25
VIDEO_OPTIONS = {"crf": "24", "preset": "veryfast", "threads": "1"}
AUDIO_OPTIONS = {"aac_coder": "fast"}
AUDIO_BITS = 80_000
AUDIO_BLOCK = 1024


def render(utterance: Utterance, folder: Path) -> None:
    """Write the clip to its path below `folder`, atomically."""
    # OpenCV's threads would compete with the caller's workers.
    cv2.setNumThreads(1)
    with atomic_write(folder / utterance.path) as temporary:
        _write(utterance, temporary)


def _write(utterance: Utterance, file: Path) -> None:
    speaker = make_speaker(utterance.seed, utterance.speaker_number)
    prosody = make_prosody(utterance, speaker)
    rng = utterance.random_generator(Stream.VOICE)
    tempo = prosody.tempo * speaker.voice.tempo
    speech = make_speech(utterance.seed, utterance.take, tempo=tempo, frame_rate=FRAME_RATE, rng=rng)
    samples = synthesise(speech, speaker.voice, prosody, rng) if utterance.has_audio else None
    with av.open(str(file), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options=VIDEO_OPTIONS)
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        audio = None
        if samples is not None:
            audio = container.add_stream("aac", rate=RATE, layout="mono", options=AUDIO_OPTIONS)
            audio.bit_rate = AUDIO_BITS
        for index, image in enumerate(_frames(utterance, speech)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and samples is not None:
            for block in _audio_blocks(samples):
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))


def _frames(utterance: Utterance, speech: Speech) -> Iterator[NDArray[np.uint8]]:
    speaker = make_speaker(utterance.seed, utterance.speaker_number)
    scene = build_scene(utterance, speaker)
    times = np.arange(round(speech.duration * FRAME_RATE)) / FRAME_RATE
    shares = _occluded_shares(utterance, times, speech.duration)
    rng = utterance.random_generator(Stream.CAMERA).spawn(1)[0]
    for pose, share in zip(make_poses(utterance, speaker, speech, times), shares, strict=True):
        yield render_frame(
            scene,
            _turn_away(pose, share) if utterance.occlusion == "turned" else pose,
            covered=float(share) if utterance.occlusion == "covered" else 0.0,
            rng=rng,
        )


def _occluded_shares(utterance: Utterance, times: NDArray[np.float64], duration: float) -> NDArray[np.float64]:
    """Return how far the face is turned away or covered at those times, (n,) in 0 to 1."""
    rng = utterance.random_generator(Stream.OCCLUSION)
    begin, end = rng.uniform(0.1, 0.4) * duration, rng.uniform(0.75, 1.1) * duration
    rise = np.clip((times - begin) / 0.25, 0.0, 1.0)
    fall = np.clip((end - times) / 0.25, 0.0, 1.0)
    share = np.minimum(rise, fall)
    smooth: NDArray[np.float64] = share * share * (3 - 2 * share)
    return smooth


def _turn_away(pose: Pose, share: float) -> Pose:
    side = 1 if pose.yaw >= 0 else -1
    return pose._replace(yaw=pose.yaw + side * TURNED_AWAY_RAD * share)


def _audio_blocks(samples: NDArray[np.float32]) -> Iterator[av.AudioFrame]:
    for start in range(0, samples.size, AUDIO_BLOCK):
        block = av.AudioFrame.from_ndarray(samples[None, start : start + AUDIO_BLOCK], format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = RATE, start, Fraction(1, RATE)
        yield block
