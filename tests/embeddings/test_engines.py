"""Engines: the same tokens from other arithmetic, and int8 only if it is close enough to fp32."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.base.errors import ParameterError, PipelineError
from pipeline.base.params import check
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import embed, load_engine
from pipeline.embeddings.int8 import measure_fidelity, prepare_weights, quantise
from pipeline.embeddings.tokens import SOURCES
from pipeline.store.clips import ClipWindows
from pipeline.store.columns import Ragged, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import WINDOWS
from pipeline.store.writer import open_writer

pytestmark = pytest.mark.slow

SMALL = BackboneConfig(weights="random", size_px=64)
OPENVINO = SMALL.model_copy(update={"engine": "openvino"})
INT8 = OPENVINO.model_copy(update={"precision": "int8", "backbone": "resnet18"})  # quick to quantise


def noise_images(count: int, seed: int, channels: int = 3) -> torch.Tensor:
    """Return smooth noise (count, channels, 64, 64) in 0..1."""
    noise = torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, (64, 64), mode="bilinear")


@pytest.mark.parametrize("channels", [3, 1])
def test_openvino_gives_the_tokens_of_torch_for_any_number_of_images(channels: int) -> None:
    pytest.importorskip("openvino")
    for count in (1, 5):
        images = noise_images(count, count, channels)
        exact = embed(images, SMALL)
        assert (embed(images, OPENVINO) - exact).abs().max() < 1e-4 * exact.abs().max()


def test_bf16_is_close_to_fp32_and_not_equal() -> None:
    images = noise_images(4, 0)
    exact, near = embed(images, SMALL), embed(images, SMALL.model_copy(update={"precision": "bf16"}))
    assert near.dtype == torch.float32
    fidelity = measure_fidelity(exact, near)
    assert 0.99 < fidelity.lowest < 1 - 1e-9


def test_int8_is_measured_on_held_out_images_and_cached() -> None:
    pytest.importorskip("nncf")
    images, held_out = noise_images(32, 1), noise_images(16, 2)
    made = quantise(INT8, images, held_out)
    assert made.fidelity.tokens == 16
    assert made.fidelity.share >= 0.99
    near = embed(held_out, INT8, model=made.model)
    exact = embed(held_out, SMALL.model_copy(update={"backbone": "resnet18"}))
    assert measure_fidelity(exact, near).lowest == pytest.approx(made.fidelity.lowest, abs=1e-4)
    assert measure_fidelity(exact, near).lowest < 1 - 1e-9
    times = {path: path.stat().st_mtime_ns for path in Path(made.model).parent.iterdir()}
    assert quantise(INT8, images, held_out) == made
    assert {path: path.stat().st_mtime_ns for path in Path(made.model).parent.iterdir()} == times
    assert quantise(INT8, noise_images(32, 3), held_out).model != made.model


def test_int8_that_is_too_far_from_fp32_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setattr("pipeline.embeddings.int8.COSINE", 0.9999999)
    with pytest.raises(PipelineError, match=r"resnet18 in int8: .* of 16 held-out tokens .* so set precision: fp32"):
        quantise(INT8, noise_images(16, 1), noise_images(16, 2))


def test_fidelity_counts_the_tokens_that_are_close_enough() -> None:
    exact = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 2.0]], [[0.0, 1.0]], [[0.0, 4.0]]])
    near = torch.tensor([[[1.04, 0.0]], [[1.0, 0.1]], [[0.0, 2.0]], [[0.8, 0.8]], [[0.0, 3.0]]])
    fidelity = measure_fidelity(exact, near)
    assert fidelity.tokens == 5
    # cosines 1, 0.99504, 1, 0.707, 1; relative errors of the length 0.04, 0.00499, 0, 0.13, 0.25
    assert fidelity.share == pytest.approx(0.6)
    assert fidelity.lowest == pytest.approx(np.sqrt(0.5))
    assert fidelity.norm_error == pytest.approx(0.25)


def test_int8_with_tokens_of_another_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setattr("pipeline.embeddings.int8.NORM_ERROR", 1e-5)
    with pytest.raises(PipelineError, match=r"a length within 0% of its own .* so set precision: fp32"):
        quantise(INT8, noise_images(16, 1), noise_images(16, 2))


def test_int8_is_quantised_and_measured_on_different_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples: dict[str, Any] = {}

    def record(config: BackboneConfig, images: torch.Tensor, held_out: torch.Tensor) -> Any:
        samples.update(images=images, held_out=held_out)
        raise InterruptedError

    monkeypatch.setattr("pipeline.embeddings.int8.quantise", record)
    source = SOURCES["mels"]
    like = to_columns(ClipWindows.empty(8))
    with open_writer(tmp_path / "s.h5", like=like, attributes={"schema": WINDOWS.name}) as writer:
        for number in range(6):  # clip n has n windows of the level n / 10
            zeros, level = np.zeros(number, np.float32), np.full((4 * number, 8), number / 10, np.float32)
            writer.append(f"clip{number}", to_columns(ClipWindows(zeros, zeros, Ragged(level, np.full(number, 4)))))
    with pytest.raises(InterruptedError):
        prepare_weights(Reader(tmp_path / "s.h5", schema=WINDOWS), source, INT8)
    levels = {name: sorted(np.round(images.mean((1, 2, 3)).numpy() * 10).tolist()) for name, images in samples.items()}
    assert levels["images"] == [1] * 1 + [3] * 3 + [5] * 5
    assert levels["held_out"] == [2] * 2 + [4] * 4


@pytest.mark.parametrize(
    ("engine", "precision", "words"),
    [
        ("torch", "int8", "the engine torch computes in fp32 or bf16, not in int8"),
        ("openvino", "bf16", "the engine openvino computes in fp32 or int8, not in bf16"),
        ("onnx", "fp32", "'torch' or 'openvino'"),
    ],
)
def test_an_engine_refuses_a_precision_it_does_not_support(engine: str, precision: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        check({"engine": engine, "precision": precision}, BackboneConfig, where="embed_faces")


def test_a_missing_engine_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    load_engine.cache_clear()
    with pytest.raises(ParameterError, match=r"engine: openvino cannot be loaded .*pip install '\.\[openvino\]'"):
        embed(noise_images(1, 0), OPENVINO)
