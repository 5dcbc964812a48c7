"""The contact sheet of face crops, to check them at a glance."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.base.selection import evenly_spaced
from pipeline.drawing.figure import save
from pipeline.drawing.sheet import CLIPS, IMAGES_PER_CLIP, Sheet
from pipeline.media.frames import UNLIMITED, SampledFrames, decode_jpeg, shrink_image
from pipeline.store.clips import ClipFaces
from pipeline.store.reader import Reader

BOX_COLOUR = (230, 159, 0)
SHOWN_PX = 640  # the longer side of a frame


def draw_faces(faces: Reader[ClipFaces], media: Mapping[str, Path], path: Path, *, frames_per_clip: int) -> None:
    """Draw every n-th clip, lowest scores first: the frame whose box has the lowest score, and crops.

    `media` gives the video of each clip id.
    """
    scores = {clip_id: _mean_score(faces[clip_id]) for clip_id in evenly_spaced(faces.clip_ids, CLIPS)}
    chosen = sorted(scores, key=lambda clip_id: (scores[clip_id], clip_id))
    title = f"Faces of {len(chosen)} of {len(faces)} clips, lowest scores first"
    sheet = Sheet(title, rows=len(chosen), columns=1 + IMAGES_PER_CLIP, cell_in=(1.2, 1.31))
    for row, clip_id in enumerate(chosen):
        clip = faces[clip_id]
        sheet.draw_image(row, 0, *_worst_frame(clip, media[clip_id], frames_per_clip))
        count = len(clip.times)
        indices = np.unique(np.linspace(0, count - 1, IMAGES_PER_CLIP).round().astype(int)) if count else ()
        for column, index in enumerate(indices, start=1):
            caption = f"{clip.times[index]:.2f} s, {_score_or_source(clip, index)}"
            sheet.draw_image(row, column, decode_jpeg(clip.crops[index]), caption)
        score = f", score {scores[clip_id]:.2f}" if count else ""
        sheet.label_row(row, f"{clip_id.split('/')[-1]}\n{count} faces{score}")
    save(sheet.figure, path)


def _mean_score(clip: ClipFaces) -> float:
    """Return the mean score of a clip's boxes, -1 without any."""
    return float(clip.boxes[:, 4].mean()) if len(clip.boxes) else -1


def _score_or_source(clip: ClipFaces, index: int) -> str:
    """Return the score of a detected box, or the source of another one."""
    return (f"{clip.boxes[index, 4]:.2f}", "filled", "whole")[clip.sources[index]]


def _worst_frame(clip: ClipFaces, path: Path, frames_per_clip: int) -> tuple[NDArray[np.uint8], str]:
    """Return the frame whose box has the lowest score, and its caption; without boxes, the middle frame."""
    frames = SampledFrames(path, count=frames_per_clip, limits=UNLIMITED)
    has_boxes = len(clip.boxes) > 0
    worst = int(clip.boxes[:, 4].argmin()) if has_boxes else 0
    time = clip.times[worst] if has_boxes else frames.times[len(frames.times) // 2]
    index, frame = min(frames, key=lambda item: abs(frames.times[item[0]] - time))
    small = shrink_image(frame, max_side_px=SHOWN_PX)
    if not has_boxes:
        return _pad_to_square(small), ""
    box = clip.boxes[worst, :4] * (max(small.shape) / max(frame.shape))
    x1, y1, x2, y2 = box.round().astype(int).tolist()
    shown = small.copy()
    cv2.rectangle(shown, (x1, y1), (x2, y2), BOX_COLOUR, max(1, max(shown.shape) // 100))
    return _pad_to_square(shown), f"{frames.times[index]:.2f} s, {_score_or_source(clip, worst)}"


def _pad_to_square(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame (height, width, 3) centred in a white square."""
    height, width = frame.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = frame
    return square
