"""What runs a backbone: torch, or OpenVINO in fp32 or int8, which has to prove itself first."""

import ctypes
import hashlib
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pipeline.backbones import BACKBONES, BackboneConfig, describe_weights, load_backbone
from pipeline.devices import hardware
from pipeline.errors import ClipError, ParameterError, PipelineError, WeightsError
from pipeline.files import cache_folder, file_digest
from pipeline.provenance import code_version, digest, library_versions

BATCH = 8  # images at a time: on a CPU more of them take more memory, not less time
COSINE = 0.995  # the least cosine of a token in int8 to that in fp32, and
SHARE = 0.99  # the share of the held-out tokens that must reach it
Engine = Callable[[Tensor], Tensor]
LIBRARIES = {  # that shape the tokens
    "torch": ("numpy", "opencv-python", "torch", "torchvision"),
    "openvino": ("nncf", "numpy", "opencv-python", "openvino", "torch", "torchvision"),
}


@dataclass(frozen=True)
class Fidelity:
    """How near int8 comes to fp32 on images that it was not calibrated on."""

    tokens: int
    share: float  # of the tokens, with a cosine of at least COSINE
    lowest: float  # the least cosine of all

    @property
    def told(self) -> str:
        """The measurement in words."""
        share = f"{self.share:.1%} of {self.tokens} held-out tokens"
        return f"{share} have a cosine of {COSINE} or more to fp32, the lowest {self.lowest:.4f}"


@dataclass(frozen=True)
class Quantised:
    """A backbone in int8: its file, the sha256 of that, and what it has proved."""

    model: str
    sha256: str
    fidelity: Fidelity


@torch.inference_mode()
def embed(images: Tensor, config: BackboneConfig, *, device: str = "cpu", model: str = "") -> Tensor:
    """Return the tokens (B, k, D) float32 of images (B, 3 or 1, size, size) in 0..1.

    `model` is the file that `quantise` has made, for int8.
    """
    if images.shape[1] == 1 and config.backbone not in BACKBONES:
        images = images.expand(-1, 3, -1, -1)  # a user's own need not know of grey images
    compute = load_engine(config, images.shape[1], device, model)
    tokens = torch.cat([compute(some) for some in images.split(BATCH)])
    if not torch.isfinite(tokens).all():
        raise ClipError("the backbone gave tokens that are not finite")
    return tokens


@cache
def load_engine(config: BackboneConfig, channels: int, device: str, model: str) -> Engine:
    """Return what computes tokens, built once a process."""
    if config.engine == "openvino":
        return _compiled(model or _converted(config, channels))
    backbone = load_backbone(config, device)
    kind = device.partition(":")[0]
    half = config.precision == "bf16"

    def compute(images: Tensor) -> Tensor:
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            tokens: Tensor = backbone(images.to(device))
        return tokens.float().cpu()

    return compute


def release() -> None:
    """Forget what was built, to give its memory back."""
    load_engine.cache_clear()
    load_backbone.cache_clear()
    if hand_back := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc keeps what is freed for itself otherwise
        hand_back(0)


def _openvino() -> Any:
    # OpenVINO and NNCF would report to their makers what runs here; without this module they cannot, and say nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise ParameterError(f"engine: openvino cannot be loaded ({error}); pip install '.[openvino]'") from error
    return openvino


def _converted(config: BackboneConfig, channels: int) -> Any:
    """Return the backbone as a model of OpenVINO, for any number of images."""
    openvino = _openvino()
    size = config.size_px
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(load_backbone(config, "cpu"), example_input=torch.zeros(2, channels, size, size))
    model.reshape([-1, channels, size, size])
    return model


def _compiled(model: Any) -> Engine:
    """Return the model, or the file of one, on one thread."""
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = _openvino().Core().compile_model(model, "CPU", settings)

    def compute(images: Tensor) -> Tensor:
        return torch.from_numpy(compiled(images.contiguous().numpy())[0].copy())

    return compute


def quantise(config: BackboneConfig, calibration: Tensor, held_out: Tensor) -> Quantised:
    """Return the backbone in int8, calibrated on some images (n, C, size, size) and measured on others.

    Raise where it is not near enough to fp32. What was made before for the same images is taken from the cache.
    """
    key = digest(
        [
            config.model_dump(),
            describe_weights(config)["sha256"],
            [hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in (calibration, held_out)],
            library_versions("nncf", "openvino", "torch"),
            code_version(quantise),
            hardware("cpu"),
        ]
    )
    folder = cache_folder() / "int8" / key
    if not folder.exists():
        _quantise(config, calibration, held_out, folder)
    fidelity = Fidelity(**json.loads((folder / "fidelity.json").read_text(encoding="utf-8")))
    model = folder / "model.xml"
    return Quantised(str(model), weights_digest(config, str(model)), fidelity)


def weights_digest(config: BackboneConfig, model: str) -> str:
    """Return the sha256 of the numbers that compute: of the model in int8, or of the backbone where that is no file."""
    if model:
        return file_digest(Path(model), Path(model).with_suffix(".bin"))
    sha256: str = describe_weights(config)["sha256"]
    return sha256


def quantised(sha256: str) -> str:
    """Return the file of the model in int8 that embeddings were made with, by its sha256."""
    for model in (cache_folder() / "int8").glob("*/model.xml"):
        if file_digest(model, model.with_suffix(".bin")) == sha256:
            return str(model)
    raise WeightsError(
        "the backbone in int8 is not in $FDAN_CACHE any more; run: dvc repro --force embed_faces embed_mels"
    )


def _quantise(config: BackboneConfig, calibration: Tensor, held_out: Tensor, folder: Path) -> None:
    openvino = _openvino()
    try:
        import nncf
    except ImportError as error:
        raise ParameterError(f"precision: int8 cannot be computed ({error}); pip install '.[openvino]'") from error
    model = _converted(config, calibration.shape[1])
    exact = _compiled(model)(held_out)
    images = nncf.Dataset([image[None].numpy() for image in calibration])
    model = nncf.quantize(model, images, subset_size=len(calibration))
    fidelity = measure(exact, _compiled(model)(held_out))
    if fidelity.share < SHARE:
        raise PipelineError(f"{config.backbone} in int8: {fidelity.told}; {SHARE:.0%} must, so set precision: fp32")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        place = Path(temporary) / "whole"
        place.mkdir()
        openvino.save_model(model, place / "model.xml", compress_to_fp16=False)
        (place / "fidelity.json").write_text(json.dumps(asdict(fidelity)), encoding="utf-8")
        place.rename(folder)


def measure(exact: Tensor, near: Tensor) -> Fidelity:
    """Return how near tokens (n, k, D) come to the exact ones."""
    cosines = cosine_similarity(exact.double(), near.double(), dim=-1)
    return Fidelity(cosines.numel(), float((cosines >= COSINE).double().mean()), float(cosines.min()))
