"""Engines that run a backbone: torch in fp32 or bf16, OpenVINO in fp32 or int8."""

import gc
import importlib
import logging
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.base.errors import ParameterError
from pipeline.base.memory import return_memory
from pipeline.base.text import one_line
from pipeline.embeddings.backbones import BACKBONES, BackboneConfig, load_backbone
from pipeline.embeddings.checks import check_repeatable, check_same_shape, check_tokens

BATCH = 8  # images at a time; on a CPU, more take more memory and save no time
Engine = Callable[[Tensor], Tensor]
PROCESSORS = ("AVX2", "AVX512")  # for which oneDNN multiplies matrices fast
log = logging.getLogger(__name__)


@torch.inference_mode()
def embed(images: Tensor, config: BackboneConfig, *, device: str = "cpu", model: str = "") -> Tensor:
    """Return the tokens (B, k, D) float32 of images (B, 3 or 1, size, size) in 0..1.

    `model` is the file of the quantised model, for int8, or of Winograd's weights, if another process has transformed
    them (`save_winograd_weights`). Raise ContractError if the backbone gives anything else.
    """
    if images.shape[1] == 1 and config.backbone not in BACKBONES:
        images = images.expand(-1, 3, -1, -1)  # a user's backbone need not support grey images
    compute = load_engine(config, images.shape[1], device, model)
    return torch.cat([compute(batch) for batch in images.split(BATCH)])


class CheckedEngine:
    """An engine whose tokens are checked: each time, and at the first images also whether they are repeatable."""

    def __init__(self, compute: Engine, config: BackboneConfig) -> None:
        """Wrap an engine of the backbone."""
        self._compute, self._config = compute, config
        self._shape: tuple[int, int] | None = None
        self._is_repeatable = False

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, k, D)."""
        name = self._config.backbone
        tokens = self._compute(images)
        check_tokens(tokens, images, name=name)
        self._shape = self._shape or (tokens.shape[1], tokens.shape[2])
        check_same_shape(tokens, self._shape, name=name)
        if not self._is_repeatable and images.any():  # a black image, which only asks for the width, shows too little
            check_repeatable(self._compute, images, tokens, name=name, precision=self._config.precision)
            self._is_repeatable = True
        return tokens


@cache
def load_engine(config: BackboneConfig, channels: int, device: str, model: str) -> Engine:
    """Return the function from images to tokens, built once per process."""
    if config.engine == "openvino":
        return CheckedEngine(compile_model(model or convert_to_openvino(config, channels)), config)
    backbone = load_winograd(config, model) if _uses_winograd(config, device) else load_backbone(config, device)
    kind = device.partition(":")[0]
    half = config.precision == "bf16"

    def compute(images: Tensor) -> Tensor:
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            tokens = backbone(images.to(device))
        return tokens.float().cpu() if isinstance(tokens, Tensor) and tokens.is_floating_point() else tokens

    return CheckedEngine(compute, config)


def choose_convolution(config: BackboneConfig, *, device: str) -> BackboneConfig:
    """Return the configuration with the convolution that runs: `winograd` only with torch in fp32 on a CPU.

    Call it before workers start: it compiles Winograd's convolution, which workers then load from the cache. If this is
    impossible, log one line and return `direct`.
    """
    if _uses_winograd(config, device):
        try:
            _import_winograd()
        except ParameterError as error:
            log.warning("%s", error)
        else:
            return config
    return config.model_copy(update={"convolution": "direct"})


def _uses_winograd(config: BackboneConfig, device: str) -> bool:
    return (config.convolution, config.engine, config.precision, device) == ("winograd", "torch", "fp32", "cpu")


@cache
def load_winograd(config: BackboneConfig, file: str = "") -> nn.Module:
    """Return the backbone with Winograd's convolutions, built once per process; release the one without.

    `file` holds the transformed weights, if another process has saved them.
    """
    backbone = load_backbone(config, "cpu")
    return_memory()  # of the initialisation, before more is needed
    weights = torch.load(file, mmap=True) if file else _transform_weights(config)
    accelerated: nn.Module = _import_winograd().accelerate(backbone, weights)
    del backbone
    load_backbone.cache_clear()  # a worker needs only one of them
    gc.collect()  # networks contain cycles
    return_memory()
    return accelerated


@cache
def _transform_weights(config: BackboneConfig) -> dict[str, Tensor | None]:
    weights: dict[str, Tensor | None] = _import_winograd().transform_weights(load_backbone(config, "cpu"))
    return weights


def save_winograd_weights(config: BackboneConfig, file: Path) -> None:
    """Write the file that other processes give to `load_winograd`; they share its memory if it is one in memory."""
    torch.save(_transform_weights(config), file)


def _import_winograd() -> Any:
    """Return the module of Winograd's convolution; raise ParameterError if this machine cannot run it."""
    capability = torch.backends.cpu.get_cpu_capability()
    try:
        if capability not in PROCESSORS or not torch.backends.mkldnn.is_available():
            raise RuntimeError(f"torch computes on this processor with {capability}, not with AVX2 or AVX-512")
        return importlib.import_module("pipeline.embeddings._winograd")
    except (ImportError, OSError, RuntimeError) as error:  # no numba; a cache that is read-only or full
        reason = one_line(str(error))
        raise ParameterError(f"convolution: winograd is not available here, direct is: {reason}") from error


def describe_convolution(config: BackboneConfig, *, device: str) -> dict[str, Any]:
    """Return the attribute that says how many layers use Winograd's convolution, and which do not; or nothing."""
    if not _uses_winograd(config, device):
        return {}
    weights = _transform_weights(config)
    direct = [name for name, weight in weights.items() if weight is None]
    return {"winograd": {"layers": len(weights) - len(direct), "direct": direct}}


def libraries(config: BackboneConfig) -> tuple[str, ...]:
    """Return the libraries that shape the tokens."""
    if config.engine == "openvino":
        return ("nncf", "numpy", "opencv-python", "openvino", "torch", "torchvision")
    winograd = ("numba",) if config.convolution == "winograd" else ()
    return (*winograd, "numpy", "opencv-python", "torch", "torchvision")


def release_models() -> None:
    """Release the cached networks, and return their memory to the system."""
    load_engine.cache_clear()
    load_winograd.cache_clear()
    _transform_weights.cache_clear()
    load_backbone.cache_clear()
    gc.collect()
    return_memory()


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
