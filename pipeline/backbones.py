"""Frozen networks that turn images into tokens.

A backbone maps images (B, 3, H, W) float32 in 0..1 to tokens (B, k, D); it is in eval mode, and nothing of it
is trained. A table entry is a builder: called with the section's configuration, it returns the backbone.
"""

import hashlib
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from pipeline.errors import ClipError, ParameterError, WeightsError
from pipeline.params import Config
from pipeline.registry import check_name, lookup
from pipeline.weights import WeightFile, obtain

LIBRARIES = ("numpy", "torch", "torchvision")
WEIGHT_FILES = {
    "resnet34": WeightFile(url="https://download.pytorch.org/models/resnet34-b627a593.pth", sha256="b627a593"),
}


class BackboneConfig(Config):
    """The sections `embed_faces` and `embed_mels`."""

    backbone: str = "resnet34"
    weights: str = "imagenet"  # imagenet, random, or the path of a state dict
    seed: int = Field(0, ge=0)  # of random weights
    tokens: Literal["pooled", "grid"] = "pooled"
    grid: int = Field(3, ge=1, le=7)  # tokens: grid gives grid x grid tokens an image
    size_px: int = Field(224, ge=32)

    @field_validator("backbone")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_name(BACKBONES, value, "backbone")

    @property
    def tokens_per_image(self) -> int:
        """The k of (B, k, D), for the backbones of this module."""
        return self.grid**2 if self.tokens == "grid" else 1


class ResNetTokens(nn.Module):
    """A torchvision ResNet without its classifier: normalise, convolve, pool to a grid of tokens."""

    mean: Tensor
    std: Tensor

    def __init__(self, resnet: nn.Module, *, cells: int, mean: list[float], std: list[float]) -> None:
        """Take the network apart; `cells` x `cells` tokens come of each image."""
        super().__init__()
        # Folding batch norm into the convolutions saves a fifth of the time on CPU.
        features = nn.Sequential(*list(resnet.eval().children())[:-2])
        self.features = fuse(features).to(memory_format=torch.channels_last)
        self.cells = cells
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 to (B, cells², D)."""
        normal = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        grid = nn.functional.adaptive_avg_pool2d(self.features(normal), self.cells)  # (B, D, cells, cells)
        return grid.flatten(2).transpose(1, 2)


def resnet34(config: BackboneConfig) -> nn.Module:
    """The 34-layer residual network of torchvision, D = 512."""
    from torchvision.models import ResNet34_Weights
    from torchvision.models import resnet34 as build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build(weights=None)
    if config.weights != "random":
        path = weights_file(config)
        try:
            network.load_state_dict(read_state(path))
        except RuntimeError as error:
            raise WeightsError(f"{path} does not fit resnet34: {' '.join(str(error).split())[:200]}") from error
    preset = ResNet34_Weights.IMAGENET1K_V1.transforms()
    cells = config.grid if config.tokens == "grid" else 1
    return ResNetTokens(network, cells=cells, mean=preset.mean, std=preset.std)


BACKBONES: dict[str, Callable[[BackboneConfig], nn.Module]] = {"resnet34": resnet34}


def weights_file(config: BackboneConfig) -> Path:
    """Return the file that holds the weights, fetching it if it is a published one."""
    if config.weights == "imagenet":
        if config.backbone not in WEIGHT_FILES:
            raise WeightsError(f"no published weights are known for {config.backbone!r}; give a file or random")
        return obtain(WEIGHT_FILES[config.backbone])
    path = Path(config.weights)
    if not path.is_file():
        raise WeightsError(f"weights {config.weights!r}: no such file; give a state dict, imagenet or random")
    return path


def read_state(path: Path) -> dict[str, Tensor]:
    """Return a state dict without executing anything that the file may hold."""
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is no state dict that can be read: {' '.join(str(error).split())}") from error
    return state


@cache
def load_backbone(config: BackboneConfig, device: str = "cpu") -> nn.Module:
    """Return the backbone, built once a process, on one thread: so its bits don't depend on the machine's cores."""
    torch.set_num_threads(1)
    backbone: nn.Module = lookup(BACKBONES, config.backbone, "backbone")(config)
    return backbone.eval().requires_grad_(False).to(device)


def check_device(device: str) -> None:
    """Raise where the machine has no such device."""
    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[kind]:
        raise ParameterError(f"run.device = {device!r}: torch finds no {kind} device here; there is cpu")


def describe_weights(config: BackboneConfig) -> dict[str, Any]:
    """Return the weights' name and the sha256 of every number in the backbone as it runs."""
    total = hashlib.sha256()
    for name, value in sorted(load_backbone(config).state_dict().items()):
        total.update(name.encode() + value.numpy().tobytes())
    return {"name": config.weights, "sha256": total.hexdigest()}


@torch.inference_mode()
def embed(images: Tensor, config: BackboneConfig, device: str = "cpu") -> Tensor:
    """Return the tokens (B, k, D) float32 of images (B, 3, size, size) in 0..1."""
    tokens: Tensor = load_backbone(config, device)(images.to(device)).float().cpu()
    if not torch.isfinite(tokens).all():
        raise ClipError("the backbone gave tokens that are not finite")
    return tokens
