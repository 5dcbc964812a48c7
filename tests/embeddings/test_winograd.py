"""Winograd's convolution: as exact as torch's, equal to the byte for any batch and threads, and named in the file."""

import copy
import errno
import importlib
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from llvmlite import binding
from torch import Tensor, nn
from torch.nn.functional import conv2d

from pipeline.base.errors import ParameterError
from pipeline.base.memory import file_in_memory
from pipeline.base.provenance import ROOT
from pipeline.embeddings._winograd import (
    WinogradConv2d,
    accelerate,
    convolve_exactly,
    error_of,
    transform_weight,
    transform_weights,
)
from pipeline.embeddings.backbones import BackboneConfig, load_backbone
from pipeline.embeddings.engines import (
    choose_convolution,
    embed,
    load_engine,
    load_winograd,
    release_models,
    save_winograd_weights,
)
from pipeline.embeddings.step import write_tokens
from pipeline.embeddings.tokens import SOURCES
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.clips import ClipWindows
from pipeline.store.columns import Ragged, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS, WINDOWS
from pipeline.store.writer import open_writer

pytestmark = pytest.mark.slow

SMALL = BackboneConfig(backbone="resnet18", weights="random", size_px=64)


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_conv(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias).requires_grad_(False)
    conv.weight.copy_(random(outputs, inputs, 3, 3, seed=1) * (2 / 9 / inputs) ** 0.5)
    return conv


def winograd_of(backbone: nn.Module) -> nn.Module:
    return accelerate(backbone, transform_weights(backbone))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("inputs", "outputs", "height", "width"), [(3, 5, 9, 7), (64, 64, 4, 4), (70, 130, 5, 30), (128, 64, 1, 2)]
)
def test_it_is_a_convolution_with_sum_and_relu(inputs: int, outputs: int, height: int, width: int, bias: bool) -> None:
    conv = make_conv(inputs, outputs, bias=bias)
    layer = WinogradConv2d(conv, transform_weight(conv.weight))
    images, residual = random(3, inputs, height, width), random(3, outputs, height, width, seed=2)
    exact = conv2d(
        images.double(), conv.weight.double(), conv.bias.double() if conv.bias is not None else None, padding=1
    )
    for result, expected in (
        (layer(images), exact),
        (layer(images, None, True), exact.relu()),
        (layer(images, residual), exact + residual),
        (layer(images, residual, True), (exact + residual).relu()),
    ):
        assert (result - expected).abs().max() < 1e-5 * exact.abs().max()


def test_processors_with_and_without_avx512_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv, images = make_conv(70, 130), random(2, 70, 9, 30)
    results = []
    for has_avx512, columns in ((True, 64), (False, 16)):
        for name in ("_winograd", "_winograd_kernels"):
            monkeypatch.delitem(sys.modules, f"pipeline.embeddings.{name}")
        monkeypatch.setenv("FDAN_CACHE", str(tmp_path / str(has_avx512)))
        monkeypatch.setattr(binding, "get_host_cpu_features", partial(dict, avx512f=has_avx512))
        winograd = importlib.import_module("pipeline.embeddings._winograd")
        assert columns == winograd.COLUMNS
        results.append(winograd.WinogradConv2d(conv, winograd.transform_weight(conv.weight))(images))
    assert results[0].numpy().tobytes() == results[1].numpy().tobytes()
    torch.testing.assert_close(results[0], conv(images), rtol=1e-4, atol=1e-4)


def pictures(count: int) -> Tensor:
    """Return pictures (count, 3, 64, 64) in 0..1 with edges and smooth parts."""
    images = np.zeros((count, 64, 64, 3), np.uint8)
    for number, image in enumerate(images):
        image[:] = np.linspace(30, 160, 64)[None, :, None]
        cv2.ellipse(image, (32, 30), (14 + number, 20), 10 * number, 0, 360, (200, 150, 130), -1)
        cv2.circle(image, (26, 26), 2, (10, 10, 10), -1)
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("uneven", [0.0, 2.0])
@pytest.mark.parametrize("make_images", [lambda: random(4, 3, 64, 64).sigmoid(), lambda: pictures(4)])
def test_tokens_are_as_exact_as_torchs(make_images: Callable[[], Tensor], uneven: float) -> None:
    """Against the same network in float64, with weights that differ by orders of magnitude between channels."""
    plain = copy.deepcopy(load_backbone(SMALL, "cpu"))
    for number, module in enumerate(plain.modules()):
        if isinstance(module, nn.Conv2d):
            scales = (uneven * random(module.out_channels, 1, 1, 1, seed=number)).exp()
            module.weight *= scales / scales.square().mean().sqrt()
    images = make_images()
    results = plain(images).double(), winograd_of(plain)(images).double()
    exact = copy.deepcopy(plain).double()(images.double())
    direct_error, error = (float((result - exact).norm() / exact.norm()) for result in results)
    assert 0 < error <= 2 * direct_error
    assert nn.functional.cosine_similarity(results[1], exact, dim=-1).min() > 1 - 1e-9


def test_a_layer_whose_error_would_be_too_large_keeps_torchs_convolution() -> None:
    uneven = make_conv(64, 64)
    uneven.weight[:, :, 1:] *= 1e-6  # one row of taps outweighs the others
    uneven.weight[:, 1:] *= 1e-6  # and one channel
    network = nn.Sequential(make_conv(64, 64), nn.ReLU(), uneven, nn.Conv2d(64, 8, 3, stride=2, padding=1))
    weights = transform_weights(network.requires_grad_(False))
    assert list(weights) == ["0", "2"]
    assert weights["2"] is None
    accelerated = accelerate(network, weights)
    assert isinstance(accelerated.get_submodule("0"), WinogradConv2d)
    assert accelerated.get_submodule("2").weight is uneven.weight
    images = random(2, 64, 24, 24).relu()
    exact = convolve_exactly(uneven, images)
    layer = WinogradConv2d(uneven, transform_weight(uneven.weight))
    assert error_of(layer(images), exact) > 2 * error_of(uneven(images), exact)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "densenet121", "googlenet"])
def test_sums_and_relus_are_part_of_the_convolutions(name: str) -> None:
    config = SMALL.model_copy(update={"backbone": name})
    plain = load_backbone(config, "cpu")
    accelerated = winograd_of(plain)
    for images in (pictures(3), pictures(3)[:, :1]):
        expected = plain(images)
        torch.testing.assert_close(accelerated(images), expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
    features: Any = accelerated.features
    modules = dict(features.named_modules())
    layers = [node for node in features.graph.nodes if isinstance(modules.get(str(node.target)), WinogradConv2d)]
    assert len(layers) > 5
    if name == "resnet18":  # two convolutions in each of eight blocks, but three of stride 2
        assert len(layers) == 13
        assert [node.args[2] for node in layers] == [True] * 13
        assert sum(node.args[1] is not None for node in layers) == 8
        assert not [node for node in features.graph.nodes if node.op == "call_function"]
    release_models()


@pytest.mark.parametrize(("name", "size_px"), [("resnet18", 96), ("resnet50", 48)])
def test_bytes_depend_on_neither_batch_nor_threads(name: str, size_px: int) -> None:
    config = SMALL.model_copy(update={"backbone": name, "size_px": size_px})  # the last maps have 2 or 3 pixels a side
    images = random(16, 3, size_px, size_px).sigmoid()
    expected = embed(images, config).numpy().tobytes()
    backbone = load_winograd(config)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for size in (1, 5, 8, 16):
            assert torch.cat([backbone(part) for part in images.split(size)]).numpy().tobytes() == expected
    torch.set_num_threads(1)


def test_weights_that_another_process_has_transformed_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = embed(pictures(2), SMALL)
    with file_in_memory("weights") as file:
        assert file is not None
        save_winograd_weights(SMALL, file)
        release_models()
        monkeypatch.setattr("pipeline.embeddings._winograd.transform_weights", None)
        assert embed(pictures(2), SMALL, model=str(file)).numpy().tobytes() == expected.numpy().tobytes()
    release_models()


def test_the_file_names_the_convolution_and_every_worker_gives_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: Any = importlib.import_module("pipeline.embeddings._winograd_kernels").convolve
    cache = Path(compiled.stats.cache_path).parents[1]  # where this process has compiled the transforms
    monkeypatch.setenv("FDAN_CACHE", str(cache))
    source = SOURCES["mels"]
    path = tmp_path / "s.h5"
    rng = np.random.default_rng(0)
    attributes = {"schema": WINDOWS.name, "fingerprint": "f", "config": {}}
    with open_writer(path, like=to_columns(ClipWindows.empty(16)), attributes=attributes) as writer:
        for number in range(6):
            windows = Ragged.join([rng.random((20, 16), np.float32) for _ in range(number)]) if number else None
            times = np.arange(number, dtype=np.float32)
            clip = ClipWindows(times, np.ones_like(times), windows) if windows else ClipWindows.empty(16)
            writer.append(f"clip{number}", to_columns(clip), media_sha256=str(number))

    def write(name: str, **settings: Any) -> Reader[Any]:
        run = ExecutionConfig(scheduler=settings.pop("scheduler", "synchronous"), workers=2)
        config = choose_convolution(SMALL.model_copy(update=settings), device="cpu")
        write_tokens(
            tmp_path / f"{name}.h5",
            Reader(path, schema=WINDOWS),
            source=source,
            config=config,
            weights={"name": "random", "sha256": "0"},
            model="",
            run=run,
            quiet=True,
        )
        shutil.rmtree(cache / "memo")
        return Reader(tmp_path / f"{name}.h5", schema=EMBEDDINGS)

    here, workers, direct = (
        write("here"),
        write("workers", scheduler="processes"),
        write("direct", convolution="direct"),
    )
    assert here.attributes["config"]["convolution"] == "winograd"
    assert here.attributes["weights"]["winograd"] == {"layers": 13, "direct": []}
    assert direct.attributes["config"]["convolution"] == "direct"
    assert "winograd" not in direct.attributes["weights"]
    assert here.attributes["fingerprint"] == workers.attributes["fingerprint"] != direct.attributes["fingerprint"]
    tokens = [reader.column("tokens") for reader in (here, workers, direct)]
    assert tokens[0].tobytes() == tokens[1].tobytes() != tokens[2].tobytes()
    np.testing.assert_allclose(tokens[0], tokens[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "device"),
    [
        ({"engine": "openvino"}, "cpu"),
        ({"engine": "openvino", "precision": "int8"}, "cpu"),
        ({"precision": "bf16"}, "cpu"),
        ({}, "cuda"),
        ({}, "mps"),
        ({"convolution": "direct"}, "cpu"),
    ],
)
def test_it_is_for_torch_in_fp32_on_a_cpu(settings: dict[str, Any], device: str) -> None:
    assert choose_convolution(SMALL.model_copy(update=settings), device=device).convolution == "direct"


def no_numba(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "numba", None)


def unknown_processor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")


def unusable_cache(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("tempfile.TemporaryFile", raise_full)  # with which numba tries a folder


def full_cache(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("numba.core.caching.IndexDataCacheFile.save", raise_full)


def raise_full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_numba, "numba"),
        (unknown_processor, "torch computes on this processor with DEFAULT"),
        (unusable_cache, "cannot cache function"),
        (full_cache, "No space left on device"),
    ],
)
def test_a_machine_that_cannot_run_it_says_so_in_one_line(
    spoil: Callable[[pytest.MonkeyPatch], None],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("_winograd", "_winograd_kernels"):
        monkeypatch.delitem(sys.modules, f"pipeline.embeddings.{name}")
    spoil(monkeypatch)
    with caplog.at_level(logging.WARNING):
        chosen = choose_convolution(SMALL, device="cpu")
    assert chosen == SMALL.model_copy(update={"convolution": "direct"})
    (record,) = caplog.records
    assert record.getMessage().startswith("convolution: winograd is not available here, direct is: ")
    assert words in record.getMessage()
    assert "\n" not in record.getMessage()
    # A worker of another machine does not fall back: the memo's key says winograd.
    load_engine.cache_clear()
    load_winograd.cache_clear()
    with pytest.raises(ParameterError, match="convolution: winograd is not available here"):
        embed(pictures(1), SMALL)


def test_it_is_compiled_once_and_loaded_by_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDAN_CACHE", str(tmp_path))
    code = """
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import choose_convolution
assert choose_convolution(BackboneConfig(), device="cpu").convolution == "winograd"
from pipeline.embeddings._winograd_kernels import convolve
print([sum(getattr(convolve.stats, name).values()) for name in ("cache_hits", "cache_misses")])
"""
    outputs = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert outputs == ["[0, 1]\n", "[1, 0]\n"]
    assert sorted(path.suffix for path in (tmp_path / "numba").rglob("*.nb?")) == [".nbc", ".nbi"]
