"""Whose face: a clip shows a person over time, not independent frames.

The boxes of a clip's frames are linked into tracks; one is chosen by size, centre, score and length; short gaps in it
are filled from its neighbours in time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.contract import Boxes

DETECTED, FILLED, WHOLE_FRAME = 0, 1, 2  # where a box comes from
SAME_FACE = 0.3  # the least overlap (IoU) of one face in two sampled frames


class Track(NamedTuple):
    """One face over time: the frames (n,) that show it, its boxes (n, 5) or (n, 9), where each comes from (n,)."""

    frames: NDArray[np.int64]
    boxes: Boxes
    sources: NDArray[np.uint8]


def track_person(detected: Sequence[Boxes], *, width_px: int, height_px: int, gap: int) -> Track:
    """Return the track of the person whom the clip is about; `detected` are the boxes (n, 5) of each sampled frame,
    or (n, 9) with the eyes.

    A face that is lost for at most `gap` frames is the same face, and its box there lies between its neighbours.
    """
    tracks = _link(detected, gap=gap)
    if not tracks:
        return Track(np.empty(0, np.int64), np.empty((0, 5), np.float32), np.empty(0, np.uint8))
    chosen = max(tracks, key=lambda track: _importance(track, width_px, height_px))
    known = np.asarray(sorted(chosen))
    boxes = np.stack([chosen[frame] for frame in known])
    every = np.arange(max(0, known[0] - gap), min(len(detected), known[-1] + gap + 1))
    between = np.stack([np.interp(every, known, column) for column in boxes.T], axis=1).astype(np.float32)
    filled = ~np.isin(every, known)
    between[filled, 4] = 0  # nobody has seen it there
    return Track(every, between, np.where(filled, FILLED, DETECTED).astype(np.uint8))


def _link(detected: Sequence[Boxes], *, gap: int) -> list[dict[int, Boxes]]:
    """Return tracks, frame to box (5,): each box continues the one that it overlaps most, or begins a new one."""
    tracks: list[dict[int, Boxes]] = []
    for frame, boxes in enumerate(detected):
        open_tracks = [track for track in tracks if frame - max(track) <= gap + 1]
        free = set(range(len(boxes)))
        pairs = [
            (overlap(track[max(track)], boxes[index]), number, index)
            for number, track in enumerate(open_tracks)
            for index in free
        ]
        continued: set[int] = set()
        for share, number, index in sorted(pairs, reverse=True):
            if share >= SAME_FACE and index in free and number not in continued:
                open_tracks[number][frame] = boxes[index]
                free.remove(index)
                continued.add(number)
        tracks += [{frame: boxes[index]} for index in sorted(free)]
    return tracks


def _importance(track: dict[int, Boxes], width_px: int, height_px: int) -> float:
    """Return how much the track fills of the clip; a box off the centre or of a low score counts less."""
    boxes = np.stack(list(track.values()))
    sides = np.sqrt(np.maximum(0, (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
    centres = (boxes[:, :2] + boxes[:, 2:4]) / 2 / (width_px, height_px) - 0.5  # -0.5 to 0.5
    central = 1 - np.minimum(1, np.hypot(centres[:, 0], centres[:, 1]))
    return float((sides * central * boxes[:, 4]).sum())


def overlap(one: Boxes, other: Boxes) -> float:
    """Return the intersection over union of two boxes (5,)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, float(width)) * max(0.0, float(height))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    return common / (sum(areas) - common) if common else 0.0
