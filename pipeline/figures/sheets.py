"""Contact sheets: a person sees in seconds whether the crops and the spectrograms are good."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.figures import save
from pipeline.media import decode_jpeg, read_frames
from pipeline.sampling import evenly
from pipeline.store import Reader

CLIPS = 12
FACES_A_CLIP = 8
LABEL_IN, TITLE_IN = 1.6, 0.4  # the room left of the pictures, and above them
BOX = (230, 159, 0)  # its colour


class Sheet:
    """Rows of pictures with a word below each, in one pair of axes: hundreds of pairs would take seconds to draw."""

    def __init__(self, title: str, *, rows: int, columns: int, cell_in: tuple[float, float]) -> None:
        """Make room for pictures of that size in inches (width, height), words included."""
        rows = max(1, rows)  # a corpus without any clip has a sheet, too
        width, height = columns * cell_in[0], rows * cell_in[1]
        self.figure = Figure(figsize=(LABEL_IN + width, TITLE_IN + height))
        self.figure.suptitle(title, fontsize=11, y=1 - 0.1 / (TITLE_IN + height), va="top")
        place = (LABEL_IN / (LABEL_IN + width), 0, width / (LABEL_IN + width), height / (TITLE_IN + height))
        self.axes = self.figure.add_axes(place, xlim=(0, columns), ylim=(rows, 0), autoscale_on=False)
        self.axes.set_axis_off()

    def name(self, row: int, words: str) -> None:
        """Say what a row shows."""
        self.axes.text(-0.05, row + 0.44, words, fontsize=7, ha="right", va="center")

    def show(self, row: int, column: int, picture: NDArray[Any], words: str, **how: Any) -> None:
        """Show a picture (height, width), or with colours, as large as its cell."""
        extent = (column + 0.03, column + 0.97, row + 0.86, row + 0.02)  # left, right, bottom, top
        self.axes.imshow(picture, extent=extent, aspect="auto", **how)
        self.axes.text(column + 0.5, row + 0.88, words, fontsize=6, ha="center", va="top")


def draw_faces(faces: Reader, media: Mapping[str, Path], path: Path, *, frames_per_clip: int) -> None:
    """Draw every n-th clip, worst scores first: the frame with the least sure box, and crops. `media` are the files."""
    scores = {clip_id: _scores(faces, clip_id) for clip_id in evenly(faces.clip_ids, CLIPS)}
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


def draw_spectrograms(spectrograms: Reader, path: Path) -> None:
    """Draw the windows of every n-th clip, one row a clip."""
    chosen = evenly(spectrograms.clip_ids, CLIPS)
    columns = max([len(spectrograms[clip_id]["windows"]) for clip_id in chosen] + [1])
    columns = min(columns, FACES_A_CLIP)
    title = f"Spectrogram windows of {len(chosen)} of {len(spectrograms)} clips"
    sheet = Sheet(title, rows=len(chosen), columns=columns, cell_in=(2.0, 1.1))
    for row, clip_id in enumerate(chosen):
        clip = spectrograms[clip_id]
        for column, window in enumerate(clip["windows"][:columns]):
            how = {"origin": "lower", "vmin": 0, "vmax": 1, "cmap": "magma"}
            sheet.show(row, column, window.T, f"{clip['times'][column]:.2f} s", **how)
        sheet.name(row, clip_id.split("/")[-1])
    save(sheet.figure, path)
