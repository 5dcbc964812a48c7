"""scikit-image's cascade of local binary patterns, several times faster and with the same boxes."""

import math
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from pipeline.faces._cascade_kernels import group, integrate, scan
from pipeline.faces.contract import Boxes, Frames, as_boxes

SCALE_STEP = float(np.float32(1.2))  # as scikit-image rounds it, or windows would have other sizes
EPSILON = np.float32(1e-5)
LUMINANCE = np.asarray((0.2125, 0.7154, 0.0721))  # of red, green and blue
MANY = 4096  # windows of one frame; more are counted, and the frame is scanned again


class Classifier(NamedTuple):
    """A trained cascade: n weak classifiers in stages."""

    features: NDArray[np.float32]  # (n, 4): column, row, width, height of a block in a window of `side` pixels
    leaves: NDArray[np.float32]  # (n, 2)
    tables: NDArray[np.uint32]  # (n, 8)
    ends: NDArray[np.int64]  # (stages,)
    thresholds: NDArray[np.float32]  # (stages,)
    side: int


def read_classifier(path: Path) -> Classifier:
    """Read OpenCV's XML of a cascade of local binary patterns."""
    tree = ET.parse(path)
    rectangles = [[int(it) for it in _text(node, "rect").split()] for node in tree.iterfind(".//features/_")]
    stages = tree.findall(".//stages/_")
    weak = [stage.findall("weakClassifiers/_") for stage in stages]
    nodes = [_text(node, "internalNodes").split()[2:] for members in weak for node in members]
    leaves = [_text(node, "leafValues").split() for members in weak for node in members]
    features = np.asarray([rectangles[int(node[0])] for node in nodes], np.float32)
    tables = np.asarray([[int(it) for it in node[1:]] for node in nodes], np.int64).astype(np.uint32)
    thresholds = np.asarray([float(_text(stage, "stageThreshold")) for stage in stages], np.float32)
    ends = np.cumsum([len(members) for members in weak])
    return Classifier(features, np.asarray(leaves, np.float32), tables, ends, thresholds, int(_text(tree, ".//height")))


def _text(node: Any, path: str) -> str:
    text: str | None = node.findtext(path)
    return text or ""


class FastCascade:
    """Detects faces in frames with a trained cascade."""

    def __init__(self, path: Path) -> None:
        """Read the cascade."""
        self._classifier = read_classifier(path)

    def __call__(self, frames: Frames) -> list[Boxes]:
        """Return the boxes (n, 5) of each frame (height, width, 3); faces are as large as a quarter to all of it."""
        _, height, width, _ = frames.shape
        short = min(height, width)
        scales = self._scales(short // 4, short)
        sums = np.empty((height + 1, width + 1), np.float32)
        return [self._detect(np.multiply(frame, 1 / 255) @ LUMINANCE, sums, scales) for frame in frames]

    def _scales(self, smallest: int, largest: int) -> NDArray[np.float32]:
        """Return the factors of the windows' size, from the smallest face to the largest, in pixels."""
        first, last = (math.log(np.float32(it) / self._classifier.side, SCALE_STEP) for it in (smallest, largest))
        return np.power(SCALE_STEP, np.arange(max(first, 0), last), dtype=np.float32)

    def _detect(self, grey: NDArray[np.float64], sums: NDArray[np.float32], scales: NDArray[np.float32]) -> Boxes:
        integrate(grey, sums)
        found = np.empty((MANY, 3), np.int64)
        while (count := self._scan(sums, scales, found)) > len(found):
            found = np.empty((count, 3), np.int64)
        rows, columns, sides = group(found[:count]).T
        return as_boxes(np.column_stack([columns, rows, columns + sides, rows + sides, np.ones_like(sides)]))

    def _scan(self, sums: NDArray[np.float32], scales: NDArray[np.float32], found: NDArray[np.int64]) -> int:
        """Fill `found` with the windows of all sizes that pass; return their number."""
        features, leaves, tables, ends, thresholds, side = self._classifier
        count = 0
        for scale in scales:
            scaled, step = (features * scale).astype(np.int64), int(scale + np.float64(0.5))
            window = int(np.float32(side) * scale)
            count = scan(sums, scaled, leaves, tables, ends, thresholds - EPSILON, window, step, found, count)
        return count
