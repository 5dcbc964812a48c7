"""Where a face's eyes are: FAN, face-alignment's network of 68 points, for the boxes of any detector.

The network and the geometry around it are face-alignment's. Its class `FaceAlignment` is not used: it would fetch
weights by itself, compile, and change global settings of cuDNN.
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
AT_ONCE = 4  # faces: more take memory and save no time
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)  # of the 68 points, as the picture shows them
TIGHT = {"retinaface", "scrfd", "yunet"}  # detectors whose boxes leave less around the face, and
TIGHT_SCALE = 165  # what face-alignment divides their sides by


def weight_file(given: str) -> Path:
    """Return the file that was given, or the published one, fetched if need be."""
    if not given:
        return fetch_weights(*WEIGHT_FILES["fan"])
    if not Path(given).is_file():
        raise WeightsError(f"faces.landmark_weights: {given} is not there; leave it empty to fetch the published ones")
    return Path(given)


def find_eyes(
    frames: NDArray[np.uint8], boxes: NDArray[np.float32], *, detector: str, weights: Path
) -> NDArray[np.float32]:
    """Return x, y of the left and of the right eye, (n, 4) in pixels, for one box of each of n frames."""
    import torch

    utils = importlib.import_module("face_alignment.utils")
    network = _network(weights)
    corners = boxes[:, :4].astype(np.float64)
    sides = corners[:, 2:] - corners[:, :2]
    centres = (corners[:, :2] + corners[:, 2:]) / 2 - np.asarray((0, utils.CENTER_Y_OFFSET)) * sides
    scales = sides.sum(1) / (TIGHT_SCALE if detector in TIGHT else utils.REFERENCE_SCALE)
    eyes = np.empty((len(frames), 4), np.float32)
    for start in range(0, len(frames), AT_ONCE):
        places = range(start, min(start + AT_ONCE, len(frames)))
        pictures = np.stack([utils.crop(frames[it], centres[it], scales[it]) for it in places])
        with torch.inference_mode():
            maps = network(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)[-1].numpy()
        for place, heat in zip(places, maps, strict=True):
            _, (points,), _ = utils.get_preds_fromhm(heat[None], centres[place], scales[place])
            eyes[place] = *points[LEFT_EYE].mean(0), *points[RIGHT_EYE].mean(0)
    return eyes


@cache
def _network(file: Path) -> Any:
    """Return FAN, built once a process."""
    import torch

    network = importlib.import_module("face_alignment.models").FAN(STACKS)
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{file} holds no weights of FAN: {str(error).splitlines()[0]}") from error
    return network.eval().to(memory_format=torch.channels_last)
