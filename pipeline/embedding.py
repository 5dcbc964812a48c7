"""From the pictures of a clip to its tokens: one batch a clip, whoever computes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.backbones import BackboneConfig, embed
from pipeline.media import decode_jpeg

Rows = dict[str, Any]


def embed_crops(rows: Rows, config: BackboneConfig, device: str) -> dict[str, NDArray[np.float32]]:
    """Return the tokens of a clip's face crops (JPEG files)."""
    images = [torch.from_numpy(decode_jpeg(file)).permute(2, 0, 1) / 255 for file in rows["crops"]]
    return _tokens(images, rows["times"], config, device)


def embed_windows(rows: Rows, config: BackboneConfig, device: str) -> dict[str, NDArray[np.float32]]:
    """Return the tokens of a clip's spectrogram windows (frames, mels) in 0..1: low bands below, time rightwards."""
    images = [torch.from_numpy(window[:, ::-1].T.copy()).expand(3, -1, -1) for window in rows["windows"]]
    return _tokens(images, rows["times"], config, device)


def _tokens(
    images: list[Tensor], times: NDArray[np.float32], config: BackboneConfig, device: str
) -> dict[str, NDArray[np.float32]]:
    """Return `tokens (n·k, D)` and `times (n·k,)`; the k tokens of an image lie together and share its time."""
    size = (config.size_px, config.size_px)
    if not images:
        return no_tokens(config)
    batch = torch.cat([interpolate(image[None], size, mode="bilinear", antialias=True) for image in images])
    tokens = embed(batch, config, device).numpy()
    return {"tokens": tokens.reshape(-1, tokens.shape[-1]), "times": np.repeat(times, tokens.shape[1])}


def no_tokens(config: BackboneConfig) -> dict[str, NDArray[np.float32]]:
    """Return the columns of a clip without pictures: `tokens (0, D)` and `times (0,)` in seconds."""
    width = embed(torch.zeros(1, 3, config.size_px, config.size_px), config).shape[-1]
    return {"tokens": np.empty((0, width), np.float32), "times": np.empty(0, np.float32)}


class Source(NamedTuple):
    """The pictures that one embedding stage reads, and what becomes of them."""

    path: Path
    schema: str
    modality: str
    compute: Callable[..., dict[str, NDArray[np.float32]]]  # of a clip's rows, config and device


SOURCES = {
    "faces": Source(Path("data/faces.h5"), "fdan.faces/2", "visual", embed_crops),
    "mels": Source(Path("data/spectrograms.h5"), "fdan.spectrograms/1", "acoustic", embed_windows),
}
