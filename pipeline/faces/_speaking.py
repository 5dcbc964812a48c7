"""Whose mouth moves with the sound: the motion of each mouth, on dense frames, compared with the loudness.

The idea is that of Cutler & Davis 2000, "Look who's talking", with a correlation instead of a trained network.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ClipError
from pipeline.faces.tracks import FaceBoxes
from pipeline.media.audio import read_audio
from pipeline.media.frames import Frame, SampledFrames
from pipeline.media.limits import Limits

MOST_FRAMES = 6000  # four minutes at 25 frames per second; in a longer clip, frames are left out
FEWEST_FRAMES = 12  # of a track, to correlate anything
LONGEST_LAG_S = 0.3  # by which picture and sound may be apart
RATE_HZ = 16000
QUIETEST_DB = -60.0
MOUTH = (0.6, 1.0)  # the part of a box's height in which the mouth is
EYES = (0.15, 0.5)  # and the eyes, which move with the head but not with speech
PATCH_PX = (32, 16)  # width and height to which both are scaled


def speech_scores(
    path: Path, tracks: Sequence[FaceBoxes], times: NDArray[np.float32], limits: Limits, *, audio: Path
) -> NDArray[np.float64]:
    """Return for each track, from a frame's index in `times` to its box, how well its mouth goes with the sound.

    `audio` is the file with the sound, which starts with the video. The score is the highest correlation of motion and
    loudness within a lag of 0.3 s. It is NaN for a track that is too short, and for all tracks if there is no sound.
    """
    try:
        sound = read_audio(audio, rate_hz=RATE_HZ, limits=limits)
    except ClipError:
        if audio != path:  # the manifest lists a separate file only if it holds sound
            raise
        return np.full(len(tracks), np.nan)
    frames = SampledFrames(path, count=MOST_FRAMES, limits=limits)
    motions = _mouth_motions(frames, tracks, times)
    loudness = _loudness(sound, frames.times)
    step_s = float(np.median(np.diff(frames.times))) if len(frames.times) > 1 else 1.0
    lag = round(LONGEST_LAG_S / step_s)
    return np.asarray([_best_correlation(motion, loudness, lag) for motion in motions])


def _mouth_motions(
    frames: SampledFrames, tracks: Sequence[FaceBoxes], times: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return how much each mouth has changed since the frame before, beyond what the eyes have: (tracks, frames)."""
    patches: list[dict[int, NDArray[np.float32]]] = [{} for _ in tracks]
    spans = [(sorted(track), np.stack([track[it][:4] for it in sorted(track)])) for track in tracks]
    for index, frame in frames:
        for patch, (numbers, boxes) in zip(patches, spans, strict=True):
            known = times[numbers]
            if known[0] <= frames.times[index] <= known[-1]:
                box = np.asarray([np.interp(frames.times[index], known, column) for column in boxes.T])
                patch[index] = np.stack([_cut(frame, box, part) for part in (MOUTH, EYES)])
    motions = np.full((len(tracks), len(frames.times)), np.nan)
    for row, patch in zip(motions, patches, strict=True):
        for index in patch.keys() & {it + 1 for it in patch}:
            mouth, eyes = np.abs(patch[index] - patch[index - 1]).mean((1, 2))
            row[index] = mouth - eyes
    return motions


def _cut(frame: Frame, box: NDArray[np.float64], part: tuple[float, float]) -> NDArray[np.float32]:
    """Return the middle half of a box, between two shares of its height, in grey and of one size."""
    x1, y1, x2, y2 = box
    left, right = (round(x1 + share * (x2 - x1)) for share in (0.25, 0.75))
    top, bottom = (round(y1 + share * (y2 - y1)) for share in part)
    height, width = frame.shape[:2]
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    region = frame[top : max(bottom, top + 1), left : max(right, left + 1)]
    grey = cv2.cvtColor(np.ascontiguousarray(region), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, PATCH_PX, interpolation=cv2.INTER_AREA), np.float32)


def _loudness(audio: NDArray[np.float32], times: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the level in decibels of the sound (samples,) between the middles of neighbouring frames, (frames,)."""
    middles = (times[1:] + times[:-1]) / 2
    edges = np.clip(np.round(np.concatenate([[0], middles, [np.inf]]) * RATE_HZ), 0, len(audio)).astype(int)
    energy = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    power = (energy[edges[1:]] - energy[edges[:-1]]) / np.maximum(1, np.diff(edges))
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (QUIETEST_DB / 10))))


def _best_correlation(motion: NDArray[np.float64], loudness: NDArray[np.float64], lag: int) -> float:
    """Return the highest correlation with the loudness shifted by up to `lag` frames; motion is NaN where unknown."""
    scores = []
    for shift in range(-lag, lag + 1):
        shifted = np.full_like(loudness, np.nan)
        shifted[max(0, shift) : len(loudness) + min(0, shift)] = loudness[
            max(0, -shift) : len(loudness) - max(0, shift)
        ]
        known = np.isfinite(motion) & np.isfinite(shifted)
        if known.sum() >= FEWEST_FRAMES and np.ptp(motion[known]) and np.ptp(shifted[known]):
            scores.append(float(np.corrcoef(motion[known], shifted[known])[0, 1]))
    return max(scores, default=np.nan)
