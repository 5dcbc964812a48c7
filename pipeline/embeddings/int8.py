"""What is settled before any clip is embedded: whose weights these are, and the model in int8, if it is to be that."""

import hashlib
import json
import logging
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pipeline.base.errors import ParameterError, PipelineError, WeightsError
from pipeline.base.files import cache_folder, file_sha256
from pipeline.base.provenance import code_version, digest, library_versions
from pipeline.embeddings.backbones import BackboneConfig, describe_weights
from pipeline.embeddings.engines import compile_model, convert_to_openvino, import_openvino
from pipeline.embeddings.tokens import Source, to_batch
from pipeline.parallel.devices import hardware
from pipeline.store.reader import Reader

SAMPLED = 256  # pictures to calibrate int8 on, and as many to measure it on
log = logging.getLogger(__name__)


def prepare(reader: Reader, source: Source, config: BackboneConfig) -> tuple[dict[str, Any], str]:
    """Return what the embeddings' attribute `weights` says, and the file of the model in int8, if it is that."""
    weights = describe_weights(config)
    if config.precision != "int8":
        return weights, ""
    made = quantise(config, *_sample(reader, source, config))
    log.info("int8: %s", made.fidelity.summary)
    return weights | {"sha256": made.sha256, "int8": asdict(made.fidelity)}, made.model


def _sample(reader: Reader, source: Source, config: BackboneConfig) -> tuple[Tensor, Tensor]:
    """Return two samples of pictures (n, channels, size, size), from all over the corpus, and of no clip in common."""
    lengths = np.diff(reader.offsets).tolist()
    filled = [(clip_id, length) for clip_id, length in zip(reader.clip_ids, lengths, strict=True) if length]
    parts = [[(clip_id, index) for clip_id, length in filled[start::2] for index in range(length)] for start in (0, 1)]
    if not all(parts):
        raise PipelineError(f"int8 needs pictures of at least two clips to prove itself; {source.path} has fewer")
    chosen = [[part[int(at)] for at in np.linspace(0, len(part) - 1, SAMPLED).round()] for part in parts]
    first, second = (
        to_batch([source.pictures(reader[clip_id])[index] for clip_id, index in dict.fromkeys(some)], config)
        for some in chosen
    )
    return first, second


COSINE = 0.995  # the least cosine of a token in int8 to that in fp32, and
SHARE = 0.99  # the share of the held-out tokens that must reach it


@dataclass(frozen=True)
class Fidelity:
    """How near int8 comes to fp32 on images that it was not calibrated on."""

    tokens: int
    share: float  # of the tokens, with a cosine of at least COSINE
    lowest: float  # the least cosine of all

    @property
    def summary(self) -> str:
        """The measurement in words."""
        share = f"{self.share:.1%} of {self.tokens} held-out tokens"
        return f"{share} have a cosine of {COSINE} or more to fp32, the lowest {self.lowest:.4f}"


@dataclass(frozen=True)
class Quantised:
    """A backbone in int8: its file, the sha256 of that, and what it has proved."""

    model: str
    sha256: str
    fidelity: Fidelity


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
        return file_sha256(Path(model), Path(model).with_suffix(".bin"))
    sha256: str = describe_weights(config)["sha256"]
    return sha256


def find_quantised_model(sha256: str) -> str:
    """Return the file of the model in int8 that embeddings were made with, by its sha256."""
    for model in (cache_folder() / "int8").glob("*/model.xml"):
        if file_sha256(model, model.with_suffix(".bin")) == sha256:
            return str(model)
    raise WeightsError(
        "the backbone in int8 is not in $FDAN_CACHE any more; run: dvc repro --force embed_faces embed_mels"
    )


def _quantise(config: BackboneConfig, calibration: Tensor, held_out: Tensor, folder: Path) -> None:
    openvino = import_openvino()
    try:
        import nncf
    except ImportError as error:
        raise ParameterError(f"precision: int8 cannot be computed ({error}); pip install '.[openvino]'") from error
    model = convert_to_openvino(config, calibration.shape[1])
    exact = compile_model(model)(held_out)
    images = nncf.Dataset([image[None].numpy() for image in calibration])
    model = nncf.quantize(model, images, subset_size=len(calibration))
    fidelity = measure_fidelity(exact, compile_model(model)(held_out))
    if fidelity.share < SHARE:
        raise PipelineError(f"{config.backbone} in int8: {fidelity.summary}; {SHARE:.0%} must, so set precision: fp32")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        place = Path(temporary) / "whole"
        place.mkdir()
        openvino.save_model(model, place / "model.xml", compress_to_fp16=False)
        (place / "fidelity.json").write_text(json.dumps(asdict(fidelity)), encoding="utf-8")
        place.rename(folder)


def measure_fidelity(exact: Tensor, near: Tensor) -> Fidelity:
    """Return how near tokens (n, k, D) come to the exact ones."""
    cosines = cosine_similarity(exact.double(), near.double(), dim=-1)
    return Fidelity(cosines.numel(), float((cosines >= COSINE).double().mean()), float(cosines.min()))
