"""From the pictures of a clip to its tokens: clip by clip, whoever computes it."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.embeddings._augmentation import Augmentation, vary_faces, vary_spectrograms, view
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import embed
from pipeline.media.frames import decode_jpeg

Rows = dict[str, Any]
Pictures = Callable[[Rows], list[Tensor]]


def crop_images(rows: Rows) -> list[Tensor]:
    """Return a clip's face crops, each (3, height, width) in 0..1."""
    return [torch.from_numpy(decode_jpeg(file)).permute(2, 0, 1) / 255 for file in rows["crops"]]


def window_images(rows: Rows) -> list[Tensor]:
    """Return a clip's spectrogram windows, each (1, bands, frames) in 0..1: low bands below, time rightwards."""
    return [torch.from_numpy(window[:, ::-1].T.copy())[None] for window in rows["windows"]]


class Source(NamedTuple):
    """The pictures that one embedding stage reads."""

    path: Path
    modality: str
    pictures: Pictures
    channels: int
    augmentation: Augmentation


SOURCES = {
    "faces": Source(Path("data/faces.h5"), "visual", crop_images, 3, vary_faces),
    "mels": Source(Path("data/spectrograms.h5"), "acoustic", window_images, 1, vary_spectrograms),
}


def embed_clip(
    rows: Rows, *, source: Source, config: BackboneConfig, device: str = "cpu", model: str = ""
) -> dict[str, NDArray[np.float32]]:
    """Return a clip's `tokens (n·k, D)` and their `times (n·k,)` in seconds; the k tokens of a picture lie together.

    They share its time, but for `columns`: each of these knows its own. Beside them lie `view_1 (n·k, D)` and so on.
    """
    images = source.pictures(rows)
    if not images:
        return empty_tokens(source, config, device=device, model=model)
    batch = to_batch(images, config)
    seed = zlib.crc32(batch.numpy().tobytes())  # a clip's views are its own, whenever they are made
    views = [batch, *(view(batch, source.augmentation, seed=seed + copy) for copy in range(1, config.views))]
    found = [embed(pictures, config, device=device, model=model).numpy() for pictures in views]
    each = found[0].shape[1]
    times = np.repeat(rows["times"], each)
    if config.tokens == "columns" and "durations" in rows:
        places = (np.arange(each) + 0.5) / each - 0.5  # of a column's middle in its picture, -0.5 to 0.5
        times += np.outer(rows["durations"], places).ravel().astype(np.float32)
    columns = {
        name: tokens.reshape(-1, tokens.shape[-1]) for name, tokens in zip(token_columns(config), found, strict=True)
    }
    return columns | {"times": times}


def token_columns(config: BackboneConfig) -> list[str]:
    """Return the columns that hold tokens."""
    return ["tokens", *(f"view_{number}" for number in range(1, config.views))]


def empty_tokens(
    source: Source, config: BackboneConfig, *, device: str = "cpu", model: str = ""
) -> dict[str, NDArray[np.float32]]:
    """Return the columns of a clip without pictures: `tokens (0, D)` and `times (0,)` in seconds."""
    black = torch.zeros(1, source.channels, config.size_px, config.size_px)
    width = embed(black, config, device=device, model=model).shape[-1]
    return {name: np.empty((0, width), np.float32) for name in token_columns(config)} | {
        "times": np.empty(0, np.float32)
    }


def to_batch(images: list[Tensor], config: BackboneConfig) -> Tensor:
    """Return pictures of any size as one batch (n, channels, size, size)."""
    size = (config.size_px, config.size_px)
    return torch.cat([interpolate(image[None], size, mode="bilinear", antialias=True) for image in images])
