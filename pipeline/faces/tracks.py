"""The track of a clip's person: a clip shows a person over time, not independent frames.

The boxes of a clip's frames are linked into tracks. One track is chosen, and its short gaps are filled from the frames
before and after them.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.faces.contract import Boxes, Frames

DETECTED, FILLED, WHOLE_FRAME = 0, 1, 2  # the source of a box
SAME_FACE = 0.3  # the minimal overlap (IoU) of one face in two sampled frames
CUT = 0.5  # the share of pixels whose colour changes at a cut, at least
HISTOGRAM_BINS = 4  # of each colour: dimmer light is no cut


FaceBoxes = Mapping[int, Boxes]
"""The box (5,) or (9,) of one face in each frame that shows it."""


class Track(NamedTuple):
    """One face over time: the frames (n,) that show it, its boxes (n, 5) or (n, 9), and their sources (n,)."""

    frames: NDArray[np.int64]
    boxes: Boxes
    sources: NDArray[np.uint8]


def choose_face(scores: NDArray[np.float64], importances: NDArray[np.float64]) -> tuple[int, float]:
    """Return the face with the highest score, the more important one of equals, and its lead over the next one.

    If fewer than two faces have a score, which is NaN for the others, the most important one is chosen, without a lead.
    """
    if np.isfinite(scores).sum() < 2:
        return int(importances.argmax()), np.nan
    first, second, *_ = np.lexsort((-importances, -scores))  # NaN is last
    return int(first), float(scores[first] - scores[second])


def follow_face(face: FaceBoxes, cuts: NDArray[np.bool_]) -> Track:
    """Return the track of a face; a gap is filled unless the film is cut there, after the frames of `cuts` (n - 1,)."""
    detected_frames = np.asarray(sorted(face))
    boxes = np.stack([face[frame] for frame in detected_frames])
    frames = _with_short_gaps(detected_frames.tolist(), cuts)
    interpolated = np.stack([np.interp(frames, detected_frames, column) for column in boxes.T], axis=1)
    interpolated = interpolated.astype(np.float32)
    filled = ~np.isin(frames, detected_frames)
    interpolated[filled, 4] = 0  # not detected, so without a score
    return Track(frames, interpolated, np.where(filled, FILLED, DETECTED).astype(np.uint8))


def _with_short_gaps(detected: list[int], cuts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the frames with the face and those in between, but for gaps in which the film is cut."""
    gaps = ([] if cuts[start:end].any() else range(start + 1, end) for start, end in pairwise(detected))
    return np.asarray(sorted([*detected, *chain.from_iterable(gaps)]))


def find_cuts(frames: Frames) -> NDArray[np.bool_]:
    """Return after which of the frames (n, height, width, 3) the film is cut, (n - 1,): the colours change."""
    bins, ranges = [HISTOGRAM_BINS] * 3, [0, 256] * 3
    histograms = np.stack([cv2.calcHist([frame], [0, 1, 2], None, bins, ranges).ravel() for frame in frames])
    changed = np.abs(np.diff(histograms, axis=0)).sum(1) / (2 * frames[0, ..., 0].size)  # 0 to 1
    return np.asarray(changed > CUT)


def link_faces(detected: Sequence[Boxes], *, gap: int) -> list[dict[int, Boxes]]:
    """Return the faces in the boxes (m, 5) or (m, 9) of each frame.

    A box continues the face that it overlaps most, or begins a new one. A face that is lost for at most `gap` frames is
    the same face.
    """
    tracks: list[dict[int, Boxes]] = []
    for frame, boxes in enumerate(detected):
        open_tracks = [track for track in tracks if frame - max(track) <= gap + 1]
        unlinked = set(range(len(boxes)))
        pairs = [
            (overlap(track[max(track)], boxes[index]), number, index)
            for number, track in enumerate(open_tracks)
            for index in unlinked
        ]
        continued: set[int] = set()
        for iou, number, index in sorted(pairs, reverse=True):
            if iou >= SAME_FACE and index in unlinked and number not in continued:
                open_tracks[number][frame] = boxes[index]
                unlinked.remove(index)
                continued.add(number)
        tracks += [{frame: boxes[index]} for index in sorted(unlinked)]
    return tracks


def importance(face: FaceBoxes, width_px: int, height_px: int) -> float:
    """Return the sum of the boxes' sides; boxes off the centre or with low scores count less."""
    boxes = np.stack(list(face.values()))
    sides = np.sqrt(np.maximum(0, (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
    centres = (boxes[:, :2] + boxes[:, 2:4]) / 2 / (width_px, height_px) - 0.5  # -0.5 to 0.5
    centrality = 1 - np.minimum(1, np.hypot(centres[:, 0], centres[:, 1]))
    return float((sides * centrality * boxes[:, 4]).sum())


def overlap(one: Boxes, other: Boxes) -> float:
    """Return the intersection over union of two boxes (5,)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, float(width)) * max(0.0, float(height))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    return common / (sum(areas) - common) if common else 0.0
