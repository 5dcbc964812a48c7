"""Eye positions from FAN, face-alignment's network of 68 landmarks, for the boxes of any detector.

The network and its geometry are face-alignment's. Its class `FaceAlignment` is not used: it would fetch weights by
itself, compile, and change global settings of cuDNN.
"""

import importlib
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import WeightsError
from pipeline.weights.files import WeightFile, fetch_weights

WEIGHT_FILES = {
    "fan": (WeightFile("https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar", "11f355bf06"),)
}
STACKS = 4  # hourglasses of the published network
FACES_AT_ONCE = 4  # more take memory and save no time
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)  # of the 68 landmarks; left and right in the image
TIGHT = {"retinaface", "scrfd", "yunet"}  # detectors whose boxes are tighter around the face
TIGHT_SCALE = 165  # face-alignment divides the sides of tight boxes by this


def weight_file(given: str) -> Path:
    """Return the given file, or the published one, which is fetched if necessary."""
    if not given:
        return fetch_weights(*WEIGHT_FILES["fan"])
    if not Path(given).is_file():
        raise WeightsError(f"faces.landmark_weights: {given} does not exist; leave it empty to use the published ones")
    return Path(given)


def find_eyes(
    frames: NDArray[np.uint8], boxes: NDArray[np.float32], *, detector: str, weights: Path
) -> NDArray[np.float32]:
    """Return x, y of the left and of the right eye, (n, 4) in pixels, for n frames with one box (5,) each."""
    import torch

    utils = importlib.import_module("face_alignment.utils")
    network = _network(weights)
    corners = boxes[:, :4].astype(np.float64)
    sides = corners[:, 2:] - corners[:, :2]
    centres = (corners[:, :2] + corners[:, 2:]) / 2 - np.asarray((0, utils.CENTER_Y_OFFSET)) * sides
    scales = sides.sum(1) / (TIGHT_SCALE if detector in TIGHT else utils.REFERENCE_SCALE)
    eyes = np.empty((len(frames), 4), np.float32)
    for start in range(0, len(frames), FACES_AT_ONCE):
        indices = range(start, min(start + FACES_AT_ONCE, len(frames)))
        crops = np.stack([utils.crop(frames[it], centres[it], scales[it]) for it in indices])
        with torch.inference_mode():
            heatmaps = network(torch.from_numpy(crops).permute(0, 3, 1, 2) / 255)[-1].numpy()
        for index, heatmap in zip(indices, heatmaps, strict=True):
            _, (points,), _ = utils.get_preds_fromhm(heatmap[None], centres[index], scales[index])
            eyes[index] = *points[LEFT_EYE].mean(0), *points[RIGHT_EYE].mean(0)
    return eyes


@cache
def _network(file: Path) -> Any:
    """Return FAN, built once per process."""
    import torch

    network = importlib.import_module("face_alignment.models").FAN(STACKS)
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{file} does not hold the weights of FAN: {str(error).splitlines()[0]}") from error
    return network.eval().to(memory_format=torch.channels_last)
