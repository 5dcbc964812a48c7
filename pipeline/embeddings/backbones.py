"""Frozen networks that turn images into tokens, behind one contract, and the sections `embed_faces` and `embed_mels`.

A backbone maps images (B, 3, H, W) float32 in 0..1 to tokens (B, k, D); it is in eval mode and is not trained. Those
of the table `BACKBONES` accept grey images (B, 1, H, W) too. An entry of the table is a builder: called with the
section's configuration, it returns the backbone. Only functions import torchvision, which takes time.
"""

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.experimental.optimization import fuse

from pipeline.base.builders import build
from pipeline.base.errors import ParameterError, WeightsError
from pipeline.base.options import NO_OPTIONS, FrozenMapping, Options, OptionsConfig, check_options
from pipeline.base.params import Seed
from pipeline.base.registry import check_name
from pipeline.base.vision import import_torchvision
from pipeline.parallel.devices import find_device
from pipeline.weights import published
from pipeline.weights.loading import load_state

Builder = Callable[["BackboneConfig"], nn.Module]


class BackboneConfig(OptionsConfig):
    """The sections `embed_faces` and `embed_mels`."""

    backbone: str = published.DEFAULT_BACKBONE
    """The frozen network: any torchvision classification network with ImageNet weights."""
    weights: str = published.IMAGENET
    """`imagenet`, `random`, or the path of a state dict."""
    seed: Seed = 0
    """Seed of random weights."""
    tokens: Literal["pooled", "grid", "columns"] = "pooled"
    """What the last feature map becomes: one `pooled` token, a `grid` of tokens, or one token per column."""
    grid: int = Field(3, ge=1, le=7)
    """With `tokens: grid`, an image gives grid × grid tokens."""
    size_px: int = Field(224, ge=32, le=2048)
    """Side to which images are resized."""
    views: int = Field(1, ge=1, le=1000)
    """Views of each image to train on: the image itself and `views - 1` augmented copies."""
    engine: Literal["torch", "openvino"] = "torch"
    """The library that runs the network."""
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    """`fp32` or `bf16` with torch, `fp32` or `int8` with OpenVINO; `int8` must pass an accuracy check."""
    convolution: Literal["winograd", "direct"] = "winograd"
    """With torch in `fp32` on a CPU, `winograd` is about twice as fast; everywhere else, convolutions are `direct`."""
    options: Options = NO_OPTIONS
    """Parameters of a backbone of your own; see [Options](swap.md#options)."""

    @field_validator("backbone")
    @classmethod
    def _check_name(cls, value: str) -> str:
        return check_name(BACKBONES, value, "backbone")

    @field_validator("options")
    @classmethod
    def _check_options(cls, value: FrozenMapping, info: ValidationInfo) -> FrozenMapping:
        return check_options(value, BACKBONES, info.data.get("backbone"), "backbone")

    @model_validator(mode="after")
    def _check_precision(self) -> "BackboneConfig":
        precisions = {"torch": ("fp32", "bf16"), "openvino": ("fp32", "int8")}[self.engine]
        if self.precision not in precisions:
            raise ValueError(f"the engine {self.engine} computes in {' or '.join(precisions)}, not in {self.precision}")
        return self


class ImageTokens(nn.Module):
    """A torchvision network without its classifier: normalise, convolve, pool the last feature map to tokens.

    Grey images (B, 1, H, W) give the same tokens as three equal channels, with less work.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: GraphModule, config: "BackboneConfig", *, mean: list[float], std: list[float]) -> None:
        """Take `features`, the network up to its last feature map, and its normalisation."""
        super().__init__()
        # Folding batch norm into the convolutions saves a fifth of the time on CPU.
        self.features = cast(GraphModule, fuse(features, inplace=True).to(memory_format=torch.channels_last))
        self.grey = grey_features(self.features, mean=mean, std=std)
        self.tokens, self.cells = config.tokens, config.grid
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3 or 1, H, W) in 0..1 to (B, k, D)."""
        if images.shape[1] == 1 and self.grey is not None:
            maps = self.grey(images)
        else:
            maps = self.features((images - self.mean).div_(self.std).contiguous(memory_format=torch.channels_last))
        if maps.ndim == 3:  # a transformer's (B, 1 + h·w, D), where the first token is the class
            side = math.isqrt(maps.shape[1] - 1)
            maps = maps[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        return self._pool(maps)

    def _pool(self, maps: Tensor) -> Tensor:
        """(B, D, h, w) to (B, k, D)."""
        if self.tokens == "columns":
            return maps.mean(2).transpose(1, 2)
        cells = self.cells if self.tokens == "grid" else 1
        return nn.functional.adaptive_avg_pool2d(maps, cells).flatten(2).transpose(1, 2)


class GreyConv(nn.Module):
    """The first convolution and the normalisation before it, for an image with three equal channels.

    conv((x - mean) / std) = conv'(x) - conv(mean / std), where conv' has one channel. The second term, which is
    constant except at the padded edges, depends only on the size.
    """

    def __init__(self, first: nn.Conv2d, *, mean: list[float], std: list[float]) -> None:
        """Fold the normalisation into the weights."""
        super().__init__()
        self.first = first
        scale = torch.tensor(std).view(1, 3, 1, 1)
        self.black = -torch.tensor(mean).view(1, 3, 1, 1) / scale  # a black pixel after normalisation
        self.weight = (first.weight.detach() / scale).sum(1, keepdim=True)
        self.offsets: dict[torch.Size, Tensor] = {}  # the second term, by size

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in 0..1 to the convolution of the normalised (B, 3, H, W)."""
        size = images.shape[2:]
        if size not in self.offsets:
            black = self.black.to(self.first.weight).expand(1, 3, *size)
            self.offsets[size] = self.first(black).detach()
        conv = self.first
        weight = self.weight.to(conv.weight)
        return nn.functional.conv2d(images, weight, None, conv.stride, conv.padding, conv.dilation) + self.offsets[size]


def grey_features(features: GraphModule, *, mean: list[float], std: list[float]) -> GraphModule | None:
    """Return the features for images of one channel; None if the network does not begin with a plain convolution."""
    start = next(node for node in features.graph.nodes if node.op == "placeholder")
    users = list(start.users)
    first = features.get_submodule(str(users[0].target)) if users[0].op == "call_module" else None
    if len(users) != 1 or not isinstance(first, nn.Conv2d) or first.padding_mode != "zeros":
        return None
    members = (
        dict[str, Any](features.named_modules()) | dict(features.named_parameters()) | dict(features.named_buffers())
    )
    return GraphModule(members | {str(users[0].target): GreyConv(first, mean=mean, std=std)}, features.graph)


def cut_at_last_map(network: nn.Module, *, size_px: int) -> GraphModule:
    """Return the network up to its last feature map: (B, D, h, w), or (B, 1 + h·w, D) of a transformer."""
    import_torchvision()
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    last = get_graph_node_names(network, suppress_diff_warning=True)[1][-1]
    whole = create_feature_extractor(network, [last], suppress_diff_warning=True)
    recorder = _ShapeRecorder(whole)
    recorder.run(torch.zeros(1, 3, size_px, size_px))
    graph = whole.graph
    maps = [node for node in graph.nodes if _is_map(recorder.shapes[node])]
    (output,) = (node for node in graph.nodes if node.op == "output")
    output.args = (maps[-1],)
    graph.eliminate_dead_code()
    return GraphModule(whole, graph)


class _ShapeRecorder(Interpreter):
    """Runs a graph and records the shape of each result; torch's own `ShapeProp` loads half a second of SymPy."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[Node, Sequence[int]] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        self.shapes[n] = getattr(result, "shape", ())
        return result


def _is_map(shape: Sequence[int]) -> bool:
    return (len(shape) == 4 and min(shape[2:]) > 1) or (len(shape) == 3 and shape[1] > 1)


def from_torchvision(name: str, config: BackboneConfig) -> nn.Module:
    """Return a classification network of torchvision as a backbone."""
    import_torchvision()
    from torchvision.models import get_model, get_model_weights

    preset = get_model_weights(name)[published.PRESET].transforms()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about a future initialisation of two networks
        torch.manual_seed(config.seed)
        network = get_model(name, weights=None).eval()
    if config.weights != published.RANDOM:
        load_state(network, weights_file(config), fault=f"does not fit {name}")
    backbone = ImageTokens(
        cut_at_last_map(network, size_px=preset.crop_size[0]), config, mean=preset.mean, std=preset.std
    )
    try:
        backbone(torch.zeros(1, 3, config.size_px, config.size_px))
    except (AssertionError, RuntimeError) as error:
        raise ParameterError(
            f"{name} cannot take images of size_px = {config.size_px}; it was made for {preset.crop_size[0]}: {error}"
        ) from error
    return backbone


class _Backbones(Mapping[str, Builder]):
    """All networks of `backbone_files`; torchvision is imported at the first access."""

    @cached_property
    def _all(self) -> Mapping[str, Builder]:
        return {name: partial(from_torchvision, name) for name in published.backbone_files()}

    def __getitem__(self, name: str) -> Builder:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


BACKBONES = _Backbones()
"""Backbones by name: builders that take a `BackboneConfig`."""


def weights_file(config: BackboneConfig) -> Path:
    """Return the file of the weights; the published one is fetched if necessary."""
    files = published.backbone_weights(config.backbone, config.weights).fetch()
    if not files:
        raise WeightsError(f"no published weights are known for {config.backbone!r}; give a file or random")
    return files[0]


@cache
def load_backbone(config: BackboneConfig, device: str) -> nn.Module:
    """Return the backbone on a device, built once per process; one thread makes it independent of the core count."""
    torch.set_num_threads(1)
    target = find_device(device)
    backbone: nn.Module = build(BACKBONES, config.backbone, "backbone", config, expected=nn.Module)
    return backbone.eval().requires_grad_(False).to(target)


def describe_weights(config: BackboneConfig) -> dict[str, Any]:
    """Return the name of the weights, and the sha256 of all numbers of the backbone as it runs."""
    return {"name": config.weights, "sha256": _weights_sha256(config)}


@cache  # the network itself may have been released
def _weights_sha256(config: BackboneConfig) -> str:
    total = hashlib.sha256()
    for name, value in sorted(load_backbone(config, "cpu").state_dict().items()):
        total.update(name.encode() + value.numpy().tobytes())
    return total.hexdigest()
