"""Engines that run a backbone: torch in fp32 or bf16, OpenVINO in fp32 or int8."""

import ctypes
import sys
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pipeline.base.errors import ClipError, ParameterError
from pipeline.embeddings.backbones import BACKBONES, BackboneConfig, load_backbone

BATCH = 8  # images at a time; on a CPU, more take more memory and save no time
Engine = Callable[[Tensor], Tensor]
LIBRARIES = {  # those that shape the tokens, by engine
    "torch": ("numpy", "opencv-python", "torch", "torchvision"),
    "openvino": ("nncf", "numpy", "opencv-python", "openvino", "torch", "torchvision"),
}


@torch.inference_mode()
def embed(images: Tensor, config: BackboneConfig, *, device: str = "cpu", model: str = "") -> Tensor:
    """Return the tokens (B, k, D) float32 of images (B, 3 or 1, size, size) in 0..1.

    `model` is the file of the quantised model, for int8. Raise ClipError if tokens are not finite.
    """
    if images.shape[1] == 1 and config.backbone not in BACKBONES:
        images = images.expand(-1, 3, -1, -1)  # a user's backbone need not support grey images
    compute = load_engine(config, images.shape[1], device, model)
    tokens = torch.cat([compute(batch) for batch in images.split(BATCH)])
    if not torch.isfinite(tokens).all():
        raise ClipError("the backbone returned tokens that are not finite")
    return tokens


@cache
def load_engine(config: BackboneConfig, channels: int, device: str, model: str) -> Engine:
    """Return the function from images to tokens, built once per process."""
    if config.engine == "openvino":
        return compile_model(model or convert_to_openvino(config, channels))
    backbone = load_backbone(config, device)
    kind = device.partition(":")[0]
    half = config.precision == "bf16"

    def compute(images: Tensor) -> Tensor:
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            tokens: Tensor = backbone(images.to(device))
        return tokens.float().cpu()

    return compute


def release_models() -> None:
    """Release the cached networks, and return their memory to the system."""
    load_engine.cache_clear()
    load_backbone.cache_clear()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc keeps freed memory otherwise
        trim(0)


def import_openvino() -> Any:
    """Import OpenVINO without telemetry; raise ParameterError if it is not installed."""
    # OpenVINO and NNCF send usage data through this module; without it they send none.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise ParameterError(f"engine: openvino cannot be loaded ({error}); pip install '.[openvino]'") from error
    return openvino


def convert_to_openvino(config: BackboneConfig, channels: int) -> Any:
    """Return the backbone as an OpenVINO model, for any batch size."""
    openvino = import_openvino()
    size = config.size_px
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(load_backbone(config, "cpu"), example_input=torch.zeros(2, channels, size, size))
    model.reshape([-1, channels, size, size])
    return model


def compile_model(model: Any) -> Engine:
    """Return an engine of a model, or of the file of one, on one thread."""
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = import_openvino().Core().compile_model(model, "CPU", settings)

    def compute(images: Tensor) -> Tensor:
        return torch.from_numpy(compiled(images.contiguous().numpy())[0].copy())

    return compute
