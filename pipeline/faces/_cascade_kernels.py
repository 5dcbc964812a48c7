"""The inner loops of the cascade of local binary patterns, compiled by numba. Import this module late."""

import numpy as np
from numpy.typing import NDArray

from pipeline.base.compilation import compiled

SAME_FACE = np.float32(0.5)  # the least share of the smaller of two boxes that is common to both
MIN_BOXES = 4  # a face is detected by so many windows


@compiled("void(f8[:,::1], f4[:,::1])")
def integrate(grey: NDArray[np.float64], sums: NDArray[np.float32]) -> None:
    """Write to sums (h + 1, w + 1) the sum of all pixels of grey (h, w) that are above and to the left."""
    columns = np.zeros(grey.shape[1])
    sums[0] = 0
    for row in range(grey.shape[0]):
        total = 0.0
        sums[row + 1, 0] = 0
        for column in range(grey.shape[1]):
            columns[column] += grey[row, column]
            total += columns[column]
            sums[row + 1, column + 1] = total


@compiled("i8(f4[:,::1], i8[:,::1], f4[:,::1], u4[:,::1], i8[::1], f4[::1], i8, i8, i8[:,::1], i8)")
def scan(
    sums: NDArray[np.float32],
    features: NDArray[np.int64],
    leaves: NDArray[np.float32],
    tables: NDArray[np.uint32],
    ends: NDArray[np.int64],
    thresholds: NDArray[np.float32],
    side: int,
    step: int,
    found: NDArray[np.int64],
    count: int,
) -> int:
    """Write row, column and side of all windows of one size that pass every stage to `found`, from row `count` on.

    `features` are column, row, width and height of a block of each weak classifier (n, 4) in this window; `leaves`
    (n, 2) its points and `tables` (n, 8) the patterns for the first of them; stage i ends before `ends[i]`. Return the
    number of rows that are filled; more than `found` has if it is too short.
    """
    values = np.empty(9, np.float32)
    for top in range(0, sums.shape[0] - 1 - side, step):
        for left in range(0, sums.shape[1] - 1 - side, step):
            classifier = 0
            has_passed = True
            for stage in range(ends.shape[0]):
                points = np.float32(0)
                while classifier < ends[stage]:
                    width, height = features[classifier, 2], features[classifier, 3]
                    for i in range(3):
                        above = top + features[classifier, 1] + i * height
                        below = above + height
                        for j in range(3):
                            start = left + features[classifier, 0] + j * width
                            end = start + width
                            total = sums[below, end] + sums[above, start]  # in scikit-image's order
                            values[3 * i + j] = (total - sums[above, end]) - sums[below, start]
                    centre = values[4]
                    pattern = 0
                    for place in (0, 1, 2, 5, 8, 7, 6, 3):  # clockwise
                        pattern = 2 * pattern + (values[place] >= centre)
                    bit = (tables[classifier, pattern >> 5] >> np.uint32(pattern & 31)) & 1
                    points += leaves[classifier, 0] if bit else leaves[classifier, 1]
                    classifier += 1
                if points < thresholds[stage]:
                    has_passed = False
                    break
            if has_passed:
                if count < found.shape[0]:
                    found[count, 0], found[count, 1], found[count, 2] = top, left, side
                count += 1
    return count


@compiled("i8[:,::1](i8[:,::1])")
def group(windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the mean row, column and side (m, 3) of each group of at least `MIN_BOXES` windows (n, 3).

    A window joins the group whose mean it overlaps most, or begins a new one.
    """
    sums = np.zeros((len(windows), 3), np.int64)
    counts = np.zeros(len(windows), np.int64)
    groups = 0
    for window in windows:
        best, best_share = groups, SAME_FACE
        for number in range(groups):
            top, left, side = sums[number] // counts[number]
            height = min(window[0] + window[2], top + side) - max(window[0], top)
            width = min(window[1] + window[2], left + side) - max(window[1], left)
            common = np.float32(max(0, width) * max(0, height))
            share = common / np.float32(min(side, window[2]) ** 2)
            if share > best_share:
                best, best_share = number, share
        groups = max(groups, best + 1)
        sums[best] += window
        counts[best] += 1
    kept = counts >= MIN_BOXES
    return sums[kept] // counts[kept].reshape(-1, 1)
