"""Winograd's convolution F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308): a quarter of the multiplications.

It takes the place of torch's convolutions of 3 x 3 pixels and stride 1 in a frozen network on a CPU. The additions and
ReLUs that follow them in a torch.fx graph become part of them. All other convolutions are oneDNN's, so the bytes of a
token depend neither on the other images of the batch nor on the number of threads.
"""

import operator
from collections.abc import Mapping
from copy import deepcopy
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from pipeline.base.memory import return_memory
from pipeline.embeddings._winograd_kernels import CHAIN, COLUMNS, LANES, POINTS, ROWS, convolve
from pipeline.embeddings.backbones import GreyConv

TILES = 6 * ROWS  # at a time: what they need stays in the cache
MAX_ERROR = 2.0  # times the error of torch's convolution
TEST_WIDTH = 1536  # channels times pixels of a side: fewer channels need more pixels for a steady figure
SMALLEST = torch.finfo(torch.double).tiny
GEOMETRY = {
    "kernel_size": (3, 3),
    "stride": (1, 1),
    "padding": (1, 1),
    "dilation": (1, 1),
    "groups": 1,
    "padding_mode": "zeros",
}


class WinogradConv2d(nn.Module):
    """A convolution of 3 x 3 pixels, with the sum and the ReLU that may follow it."""

    def __init__(self, conv: nn.Conv2d, weight: Tensor) -> None:
        """Take the result of `transform_weight` for the convolution's weights."""
        super().__init__()
        self.out_channels = conv.out_channels
        self.in_padding, self.out_padding = -conv.in_channels % LANES, -conv.out_channels % LANES
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()
        self.bias = nn.functional.pad(bias, (0, self.out_padding)).unflatten(0, (-1, LANES))
        self.weight = weight

    def forward(self, images: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        """Images (n, c, h, w) float32 to (n, d, h, w): convolve, add `residual` (n, d, h, w), apply ReLU."""
        maps = _channels_last(images, self.in_padding).unflatten(3, (-1, LANES))
        count, height, width, parts, _ = maps.shape
        out = torch.empty(count, height, width, len(self.bias), LANES)
        added = out
        if residual is not None:
            sized = residual.expand(count, self.out_channels, height, width)
            added = _channels_last(sized, self.out_padding).view(out.shape)
        tiles = count * -(-height // 4) * -(-width // 4)
        rows = min(TILES, -(-tiles // ROWS) * ROWS)
        convolve(
            maps.numpy(),
            self.weight.numpy(),
            self.bias.numpy(),
            added.numpy(),
            out.numpy(),
            torch.empty(36, rows, parts, LANES).numpy(),
            torch.empty(36, rows, LANES).numpy(),
            residual is not None,
            relu,
        )
        return out.flatten(3)[..., : self.out_channels].permute(0, 3, 1, 2)


class OtherConv2d(nn.Module):
    """Any other convolution, always by oneDNN.

    torch has another one for a single small image, and for kernels of one pixel with less than 16 images on one thread.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """Share the weights."""
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.geometry = [*map(list, (conv.padding, conv.stride, conv.dilation))], conv.groups

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) to (n, d, h, w)."""
        sizes, groups = self.geometry
        convolve = torch.ops.mkldnn._convolution_pointwise
        out: Tensor = convolve(images, self.weight, self.bias, *sizes, groups, "none", [], "")
        return out


def _channels_last(maps: Tensor, padding: int) -> Tensor:
    """(n, c, h, w) to (n, h, w, c + padding), without a copy if nothing is padded and it is so in memory."""
    last = maps.permute(0, 2, 3, 1)
    return (nn.functional.pad(last, (0, padding)) if padding else last).contiguous()


def transform_weight(weight: Tensor) -> Tensor:
    """Return GgG' of a weight (d, c, 3, 3) as `_winograd_kernels.convolve` reads it; it is four times as large."""
    weight = nn.functional.pad(weight.detach(), (*[0] * 7, -len(weight) % LANES))
    scales = [np.prod([point - other for other in POINTS if other != point]) for point in POINTS]
    g = np.asarray([[point**power / scale for power in range(3)] for point, scale in zip(POINTS, scales, strict=True)])
    g = np.vstack([g, (0, 0, 1)])
    transform = torch.from_numpy(np.kron(g, g))
    outputs, inputs = weight.shape[:2]
    transformed = torch.empty(outputs // COLUMNS, 36, inputs, COLUMNS)
    for part, taps in zip(transformed, weight.reshape(-1, COLUMNS, inputs, 9), strict=True):
        for channels in range(0, inputs, CHAIN):  # a few at a time: what is in float64 stays in the processor's cache
            some = taps[:, channels : channels + CHAIN].permute(2, 1, 0).double()
            part[:, channels : channels + CHAIN] = (transform @ some.flatten(1)).view(36, -1, COLUMNS)
    return transformed.view(-1, LANES // COLUMNS, 36, inputs, COLUMNS).transpose(1, 2).contiguous()


def convolve_exactly(conv: nn.Conv2d, images: Tensor) -> Tensor:
    """Return the convolution of images in float64."""
    bias = None if conv.bias is None else conv.bias.detach().double()
    return nn.functional.conv2d(images.double(), conv.weight.detach().double(), bias, padding=1)


def error_of(result: Tensor, exact: Tensor) -> float:
    """Return the rounding error of a convolution's result, relative to the exact one: root mean square over channels.

    Every output channel counts the same, whatever the scale of its weights.
    """
    squares = ((result.double() - exact).square().mean((0, 2, 3)), exact.square().mean((0, 2, 3)))
    return float((squares[0] / squares[1].clamp_min(SMALLEST)).mean().sqrt())


def is_exact(layer: WinogradConv2d, conv: nn.Conv2d) -> bool:
    """Return whether the layer's error on test images is at most `MAX_ERROR` times that of torch's convolution."""
    side = min(24, max(8, TEST_WIDTH // conv.in_channels))
    # For a single small image, or another order of axes, torch has other convolutions than those that networks run.
    images = torch.randn(2, conv.in_channels, side, side, generator=torch.Generator().manual_seed(0)).relu()
    images = images.contiguous(memory_format=torch.channels_last)
    exact = convolve_exactly(conv, images)
    return error_of(layer(images), exact) <= MAX_ERROR * error_of(conv(images), exact)


@torch.inference_mode()
def transform_weights(backbone: nn.Module) -> dict[str, Tensor | None]:
    """Return the transformed weights of each suitable convolution by its name; None if it would not be exact."""
    weights: dict[str, Tensor | None] = {}
    for name, conv in backbone.named_modules():  # each once, even if two graphs share it
        if _is_suitable(conv):
            layer = WinogradConv2d(conv, transform_weight(conv.weight))
            weights[name] = layer.weight if is_exact(layer, conv) else None
            return_memory()  # of a layer's intermediate results, ten times its weights
    return weights


@torch.inference_mode()
def accelerate(backbone: nn.Module, weights: Mapping[str, Tensor | None]) -> nn.Module:
    """Return a copy of a frozen backbone with Winograd's convolutions, and the result of `transform_weights` for it."""
    originals = [*backbone.parameters(), *backbone.buffers()]
    copy = deepcopy(backbone, {id(original): original for original in originals})
    layers: dict[nn.Module, nn.Module] = {}
    for name, conv in copy.named_modules():
        if _is_suitable(conv) and (weight := weights[name]) is not None:
            layers[conv] = WinogradConv2d(conv, weight)
        elif _is_computed_by_onednn(conv):
            layers[conv] = OtherConv2d(conv)
    for module in list(copy.modules()):
        for name, child in list(module.named_children()):
            if child in layers and not isinstance(module, GreyConv):  # it reads the weights
                setattr(module, name, layers[child])
    for module in copy.modules():
        if isinstance(module, GraphModule):
            _fuse(module)
    return copy


def _is_computed_by_onednn(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.dtype == torch.float32
    )


def _is_suitable(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(module) is nn.Conv2d
        and all(getattr(module, name) == value for name, value in GEOMETRY.items())
        and module.weight.dtype == torch.float32
    )


def _fuse(module: GraphModule) -> None:
    """Make sums and ReLUs part of the convolutions whose results only they use."""
    for node in list(module.graph.nodes):
        if node.op != "call_module" or not isinstance(module.get_submodule(str(node.target)), WinogradConv2d):
            continue
        if len(node.args) > 1:  # fused before: the backbone for grey images shares its graph
            continue
        chain, residual = [node], None
        total = _only_user(node)
        if total is not None and total.target in (operator.add, torch.add) and not total.kwargs:
            others = [it for it in total.all_input_nodes if it is not node]
            if len(others) == 1:  # and not a number, nor the node itself
                chain.append(total)
                residual = others[0]
        user = _only_user(chain[-1])
        has_relu = user is not None and _is_relu(module, user)
        if user is not None and has_relu:
            chain.append(user)
        with module.graph.inserting_before(chain[-1]):
            fused = module.graph.call_module(str(node.target), (node.args[0], residual, has_relu))
        chain[-1].replace_all_uses_with(fused)
        for old in reversed(chain):
            module.graph.erase_node(old)
    module.recompile()


def _only_user(node: Node) -> Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _is_relu(module: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), nn.ReLU)
    return node.target in (nn.functional.relu, torch.relu)
