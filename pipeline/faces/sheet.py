"""The contact sheet of face crops, to check them at a glance."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.base.selection import count_noun, evenly_spaced
from pipeline.drawing.figure import save
from pipeline.drawing.sheet import CLIPS, IMAGES_PER_CLIP, Sheet
from pipeline.media.frames import UNLIMITED, SampledFrames, decode_jpeg, shrink_image
from pipeline.store.clips import ClipFaces
from pipeline.store.reader import Reader

BOX_COLOUR = (230, 159, 0)
SHOWN_PX = 640  # the longer side of a frame


def draw_faces(faces: Reader[ClipFaces], media: Mapping[str, Path], path: Path, *, frames_per_clip: int) -> None:
    """Draw every n-th clip: those without a face, then lowest scores first, the frame of the lowest score, and crops.

    `media` gives the video of each clip id.
    """
    absent: dict[str, str] = faces.attributes["absent"]
    clip_ids = sorted([*faces.clip_ids, *absent])
    clips = {clip_id: None if clip_id in absent else faces[clip_id] for clip_id in evenly_spaced(clip_ids, CLIPS)}
    scores = {clip_id: clip.boxes[:, 4].mean() if clip else -1 for clip_id, clip in clips.items()}
    title = f"Faces of {len(clips)} of {len(clip_ids)} clips, lowest scores first"
    sheet = Sheet(title, rows=len(clips), columns=1 + IMAGES_PER_CLIP, cell_in=(1.2, 1.31))
    for row, clip_id in enumerate(sorted(clips, key=lambda clip_id: (scores[clip_id], clip_id))):
        clip = clips[clip_id]
        frames = SampledFrames(media[clip_id], count=frames_per_clip, limits=UNLIMITED)
        draw_row(sheet, row, clip_id.split("/")[-1], absent[clip_id] if clip is None else clip, frames)
    save(sheet.figure, path)


def draw_row(sheet: Sheet, row: int, name: str, clip: ClipFaces | str, frames: SampledFrames) -> None:
    """Draw a clip: the frame whose box has the lowest score, and crops; or its middle frame and why it has none."""
    if isinstance(clip, str):
        middle, _ = _frame_at(frames, frames.times[len(frames.times) // 2])
        sheet.draw_image(row, 0, _pad_to_square(middle), "")
        sheet.label_row(row, f"{name}\n{clip}")
        return
    sheet.draw_image(row, 0, *_worst_frame(clip, frames))
    count = len(clip.times)
    indices = np.unique(np.linspace(0, count - 1, IMAGES_PER_CLIP).round().astype(int))
    for column, index in enumerate(indices, start=1):
        caption = f"{clip.times[index]:.2f} s, {_score_or_source(clip, index)}"
        sheet.draw_image(row, column, decode_jpeg(clip.crops[index]), caption)
    sheet.label_row(row, f"{name}\n{count_noun(count, 'face')}, score {clip.boxes[:, 4].mean():.2f}")


def _score_or_source(clip: ClipFaces, index: int) -> str:
    """Return the score of a detected box, or the source of another one."""
    return (f"{clip.boxes[index, 4]:.2f}", "filled", "whole")[clip.sources[index]]


def _frame_at(frames: SampledFrames, time_s: float) -> tuple[NDArray[np.uint8], float]:
    """Return a small copy of the frame that is nearest to a time, and its scale."""
    _, frame = min(frames, key=lambda item: abs(frames.times[item[0]] - time_s))
    small = shrink_image(frame, max_side_px=SHOWN_PX)
    return small, max(small.shape) / max(frame.shape)


def _worst_frame(clip: ClipFaces, frames: SampledFrames) -> tuple[NDArray[np.uint8], str]:
    """Return the frame whose box has the lowest score, with the box, and its caption."""
    worst = int(clip.boxes[:, 4].argmin())
    frame, scale = _frame_at(frames, clip.times[worst])
    shown = frame.copy()
    x1, y1, x2, y2 = (clip.boxes[worst, :4] * scale).round().astype(int).tolist()
    cv2.rectangle(shown, (x1, y1), (x2, y2), BOX_COLOUR, max(1, max(shown.shape) // 100))
    return _pad_to_square(shown), f"{clip.times[worst]:.2f} s, {_score_or_source(clip, worst)}"


def _pad_to_square(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame (height, width, 3) centred in a white square."""
    height, width = frame.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = frame
    return square
