"""A clip's tokens: its images as one batch, through the backbone, for itself and for augmented copies."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.embeddings._augmentation import Augmentation, augment, vary_faces, vary_spectrograms
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import embed
from pipeline.media.frames import decode_jpeg
from pipeline.store.clips import ClipFaces, ClipTokens, ClipWindows
from pipeline.store.schemas import FACES, STAGES, WINDOWS, Schema


def crop_images(clip: ClipFaces) -> list[Tensor]:
    """Return a clip's face crops, each (3, height, width) in 0..1."""
    # Numbers are converted in the order in which they lie in memory, which is several times faster.
    return [torch.from_numpy(decode_jpeg(file)).float().div_(255).permute(2, 0, 1) for file in clip.crops]


def window_images(clip: ClipWindows) -> list[Tensor]:
    """Return a clip's spectrogram windows, each (1, bands, frames) in 0..1, with low bands at the bottom."""
    return [torch.from_numpy(window[:, ::-1].T.copy())[None] for window in clip.windows]


class Source(NamedTuple):
    """The images that one embedding stage reads."""

    stage: str  # its name, and that of its section
    path: Path
    schema: Schema[Any]
    modality: str
    images: Callable[[Any], list[Tensor]]  # a clip of the schema to its images
    channels: int
    augmentation: Augmentation


SOURCES = {
    "faces": Source(STAGES["visual.h5"], Path("data/faces.h5"), FACES, "visual", crop_images, 3, vary_faces),
    "mels": Source(
        STAGES["acoustic.h5"], Path("data/spectrograms.h5"), WINDOWS, "acoustic", window_images, 1, vary_spectrograms
    ),
}


def embed_clip(
    clip: ClipFaces | ClipWindows, *, source: Source, config: BackboneConfig, device: str = "cpu", model: str = ""
) -> ClipTokens:
    """Return the tokens of a clip, image by image: k tokens an image, n·k in all.

    The tokens of an image share its time, except with `tokens: columns`, where each column has its own.
    `model` is the file of the quantised model, for int8.
    """
    images = source.images(clip)
    if not images:
        return ClipTokens.empty(token_width(source, config, device=device, model=model), views=config.views - 1)
    batch = to_batch(images, config)
    copies = make_views(batch, source, config.views)
    tokens, *views = (embed(images, config, device=device, model=model).numpy() for images in (batch, *copies))
    per_image = tokens.shape[1]
    times = np.repeat(clip.times, per_image)
    if config.tokens == "columns" and isinstance(clip, ClipWindows):
        positions = (np.arange(per_image) + 0.5) / per_image - 0.5  # of a column's middle in its image, -0.5 to 0.5
        times += np.outer(clip.durations, positions).ravel().astype(np.float32)
    return ClipTokens(times, tokens.reshape(-1, tokens.shape[-1]), tuple(it.reshape(-1, it.shape[-1]) for it in views))


def make_views(batch: Tensor, source: Source, views: int) -> list[Tensor]:
    """Return `views - 1` augmented copies of a clip's batch; the same for the same content."""
    if views == 1:
        return []
    seed = zlib.crc32(batch.numpy().tobytes())
    return [augment(batch, source.augmentation, seed=seed + number) for number in range(1, views)]


def token_width(source: Source, config: BackboneConfig, *, device: str = "cpu", model: str = "") -> int:
    """Return the width D of the backbone's tokens."""
    black = torch.zeros(1, source.channels, config.size_px, config.size_px)
    return embed(black, config, device=device, model=model).shape[-1]


def to_batch(images: list[Tensor], config: BackboneConfig) -> Tensor:
    """Return images of any size as one batch (n, channels, size, size)."""
    return torch.stack([_resize(image, config.size_px) for image in images])


def _resize(image: Tensor, size_px: int) -> Tensor:
    """(channels, height, width) to (channels, size_px, size_px)."""
    size = (size_px, size_px)
    if image.shape[1:] == size:
        return image
    return interpolate(image[None], size, mode="bilinear", antialias=True)[0]
