"""Whether a detector keeps its contract, by what it gave for some frames.

Raise ContractError if not: a detector that breaks it is at fault, and not the clip.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import broken_contract
from pipeline.faces.contract import Frames

WIDTHS = (5, 9)  # of the arrays: x1, y1, x2, y2, score, and the eyes
WANTED = "x1, y1, x2, y2, score in pixels"
NORMALISED = 1.5  # pixels: no face is as small, so boxes within them are shares of the frame


def check_boxes(detected: object, frames: Frames, *, name: str) -> None:
    """Check what the detector `name` gave for frames (B, H, W, 3): B arrays (n, 5) or (n, 9) of boxes in pixels."""
    part = f"detector {name!r}"
    count, size = len(frames), (frames.shape[2], frames.shape[1])
    if not isinstance(detected, Sequence | np.ndarray) or isinstance(detected, str):
        raise broken_contract(part, gave=type(detected).__name__, wanted=f"a list of {count} arrays, one per frame")
    if len(detected) != count:
        gave = f"{len(detected)} arrays for {count} frames"
        raise broken_contract(part, gave=gave, wanted="one per frame", guess="a frame without a face has (0, 5)")
    for boxes in detected:
        _check_array(boxes, part)
    filled = [boxes for boxes in detected if len(boxes)]
    if not filled:
        return
    if len({boxes.shape[1] for boxes in filled}) > 1:
        raise broken_contract(part, gave="5 columns for some frames and 9 for others", wanted="the same for all")
    _check_values(np.concatenate(filled), size, part)


def _check_array(boxes: object, part: str) -> None:
    wanted = "a float32 array (n, 5) or (n, 9) per frame"
    if not isinstance(boxes, np.ndarray):
        raise broken_contract(part, gave=type(boxes).__name__, wanted=wanted, guess="use np.asarray(rows, np.float32)")
    if boxes.ndim != 2 or boxes.shape[1] not in WIDTHS:
        guess = "the score is missing" if boxes.ndim == 2 and boxes.shape[1] == 4 else ""
        if not boxes.size:
            guess = "reshape it to (0, 5) if there is no face"
        raise broken_contract(part, gave=f"an array {boxes.shape}", wanted=wanted, guess=guess)
    if not np.issubdtype(boxes.dtype, np.floating):
        raise broken_contract(part, gave=f"{boxes.dtype}", wanted=wanted, guess="use .astype(np.float32)")


def _check_values(rows: NDArray[np.floating], size: tuple[int, int], part: str) -> None:
    """Check all boxes (n, 5) or (n, 9) of frames of the size (width, height)."""
    if not np.isfinite(rows).all():
        row = rows[~np.isfinite(rows).all(1)][0]
        raise broken_contract(part, gave=f"the row {_text(row)}", wanted="finite numbers", guess="leave out such boxes")
    if (np.abs(rows[:, :4]) <= NORMALISED).all():
        guess = "multiply them by width and height"
        raise broken_contract(part, gave="boxes that all lie within 0..1", wanted="pixels", guess=guess)
    empty = (rows[:, 2] <= rows[:, 0]) | (rows[:, 3] <= rows[:, 1])
    if empty.any():
        row = rows[empty][0]
        cause = "x2 <= x1" if row[2] <= row[0] else "y2 <= y1"
        guess = f"{cause}: give corners, not widths" if (row[2:4] > 0).all() else f"{cause}: are corners swapped?"
        raise broken_contract(part, gave=f"the box {_text(row[:4])}", wanted=WANTED, guess=guess)
    outside = (rows[:, :2] >= size).any(1) | (rows[:, 2:4] <= 0).any(1)
    if outside.any():
        row = rows[outside][0]
        is_swapped = (row[1::-1] < size).all() and (row[2:4] > 0).all()
        guess = "are x and y swapped?" if is_swapped else "give pixels of the frames that the detector gets"
        gave = f"the box {_text(row[:4])} outside of its frame of {size[0]} x {size[1]} pixels"
        raise broken_contract(part, gave=gave, wanted=WANTED, guess=guess)


def _text(row: NDArray[np.floating]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in row)})"
