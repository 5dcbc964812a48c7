"""Eye positions from FAN, face-alignment's network of 68 landmarks, for the boxes of any detector.

The network and its geometry are face-alignment's. Its class `FaceAlignment` is not used: it would fetch weights by
itself, compile, and change global settings of cuDNN.
"""

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.weights.loading import load_state
from pipeline.weights.published import landmark_weights

STACKS = 4  # hourglasses of the published network
FACES_AT_ONCE = 4  # more take memory and save no time
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)  # of the 68 landmarks; left and right in the image
TIGHT = {"retinaface", "scrfd", "yunet"}  # detectors whose boxes are tighter around the face
TIGHT_SCALE = 165  # face-alignment divides the sides of tight boxes by this


def weight_file(given: str) -> Path:
    """Return the given file, or the published one, which is fetched if necessary."""
    (path,) = landmark_weights(given).fetch()
    return path


class Placement(NamedTuple):
    """Where FAN looks for a face: the centre (2,) and the scale of the square around it, in pixels of the frame."""

    centre: NDArray[np.float64]
    scale: float


def find_placement(box: NDArray[np.float32], *, detector: str) -> Placement:
    """Return the placement of the face in a box (5,) or (9,) of this detector."""
    utils = importlib.import_module("face_alignment.utils")
    corners = box[:4].astype(np.float64)
    sides = corners[2:] - corners[:2]
    centre = (corners[:2] + corners[2:]) / 2 - np.asarray((0, utils.CENTER_Y_OFFSET)) * sides
    return Placement(centre, sides.sum() / (TIGHT_SCALE if detector in TIGHT else utils.REFERENCE_SCALE))


def crop_for_eyes(frame: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Return the network's input (256, 256, 3) from a frame (height, width, 3)."""
    utils = importlib.import_module("face_alignment.utils")
    return np.asarray(utils.crop(frame, *placement), np.uint8)


def find_eyes(
    crops: Sequence[NDArray[np.uint8]], placements: Sequence[Placement], *, weights: Path
) -> NDArray[np.float32]:
    """Return x, y of the left and of the right eye, (n, 4) in pixels of the frame, in n crops of `crop_for_eyes`."""
    import torch

    utils = importlib.import_module("face_alignment.utils")
    network = _network(weights)
    eyes = np.empty((len(crops), 4), np.float32)
    for start in range(0, len(crops), FACES_AT_ONCE):
        batch = np.stack(crops[start : start + FACES_AT_ONCE])
        with torch.inference_mode():
            heatmaps = network(torch.from_numpy(batch).permute(0, 3, 1, 2) / 255)[-1].numpy()
        for index, heatmap in enumerate(heatmaps, start):
            _, (points,), _ = utils.get_preds_fromhm(heatmap[None], *placements[index])
            eyes[index] = *points[LEFT_EYE].mean(0), *points[RIGHT_EYE].mean(0)
    return eyes


@cache
def _network(file: Path) -> Any:
    """Return FAN, built once per process."""
    import torch

    network = importlib.import_module("face_alignment.models").FAN(STACKS)
    load_state(network, file, fault="does not hold the weights of FAN")
    return network.eval().to(memory_format=torch.channels_last)
