"""Contact sheets: a person sees in seconds whether the crops and the spectrograms are good."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.base.selection import evenly_spaced
from pipeline.drawing.figure import save
from pipeline.drawing.sheet import CLIPS, FACES_A_CLIP, Sheet
from pipeline.media.frames import decode_jpeg, read_frames
from pipeline.store.reader import Reader

BOX = (230, 159, 0)  # its colour


def draw_faces(faces: Reader, media: Mapping[str, Path], path: Path, *, frames_per_clip: int) -> None:
    """Draw every n-th clip, worst scores first: the frame with the least sure box, and crops. `media` are the files."""
    scores = {clip_id: _scores(faces, clip_id) for clip_id in evenly_spaced(faces.clip_ids, CLIPS)}
    chosen = sorted(scores, key=lambda clip_id: (scores[clip_id].mean() if len(scores[clip_id]) else -1, clip_id))
    title = f"Faces of {len(chosen)} of {len(faces)} clips, those with the worst scores first"
    sheet = Sheet(title, rows=len(chosen), columns=1 + FACES_A_CLIP, cell_in=(1.2, 1.31))
    for row, clip_id in enumerate(chosen):
        clip = faces[clip_id]
        sheet.show(row, 0, *_worst_frame(clip, media[clip_id], frames_per_clip))
        count = len(clip["times"])
        shown = np.unique(np.linspace(0, count - 1, FACES_A_CLIP).round().astype(int)) if count else ()
        for column, index in enumerate(shown, start=1):
            told = f"{clip['times'][index]:.2f} s, {_told(clip, index)}"
            sheet.show(row, column, decode_jpeg(clip["crops"][index]), told)
        score = f", score {scores[clip_id].mean():.2f}" if count else ""
        sheet.name(row, f"{clip_id.split('/')[-1]}\n{count} faces{score}")
    save(sheet.figure, path)


def _scores(faces: Reader, clip_id: str) -> NDArray[np.float32]:
    """Return the scores (n,) of a clip's boxes; 0 where nobody has seen a face."""
    return np.asarray(faces[clip_id]["boxes"][:, 4], np.float32)


def _told(clip: Mapping[str, Any], index: int) -> str:
    """Return in a word where a box comes from."""
    return (f"{clip['boxes'][index, 4]:.2f}", "filled", "whole")[clip["sources"][index]]


def _worst_frame(clip: Mapping[str, Any], path: Path, frames_per_clip: int) -> tuple[NDArray[np.uint8], str]:
    """Return the frame whose box is the least sure, and a word on it; without any box, the one in the clip's middle."""
    frames, times = read_frames(path, count=frames_per_clip)
    if not len(clip["boxes"]):
        return _square(frames[len(frames) // 2]), ""
    worst = int(clip["boxes"][:, 4].argmin())
    index = int(np.abs(times - clip["times"][worst]).argmin())
    x1, y1, x2, y2 = clip["boxes"][worst, :4].round().astype(int).tolist()
    thickness = max(1, max(frames[index].shape) // 100)
    frame = cv2.rectangle(frames[index].copy(), (x1, y1), (x2, y2), BOX, thickness)
    return _square(frame), f"{times[index]:.2f} s, {_told(clip, worst)}"


def _square(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame (height, width, 3) in the middle of a white square."""
    height, width = frame.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = frame
    return square
