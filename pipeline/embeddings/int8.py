"""Quantisation of a backbone to int8, measured against fp32, and the description of the weights in use."""

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

SAMPLED = 256  # images to quantise with, and as many to measure on
COSINE = 0.995  # the cosine between an int8 token and its fp32 token that counts as close
NORM_ERROR = 0.05  # the largest relative error of its length: the cosine says nothing about it
SHARE = 0.99  # the share of the held-out tokens that must be close
log = logging.getLogger(__name__)


def prepare_weights(reader: Reader[Any], source: Source, config: BackboneConfig) -> tuple[dict[str, Any], str]:
    """Return the attribute `weights` of the embeddings, and the file of the int8 model; "" in other precisions.

    Without images, no weights are needed.
    """
    if not len(reader):
        return {"name": "none", "sha256": ""}, ""
    weights = describe_weights(config)
    if config.precision != "int8":
        return weights, ""
    quantised = quantise(config, *_sample_images(reader, source, config))
    log.info("int8: %s", quantised.fidelity.summary)
    return weights | {"sha256": quantised.sha256, "int8": asdict(quantised.fidelity)}, quantised.model


def _sample_images(reader: Reader[Any], source: Source, config: BackboneConfig) -> tuple[Tensor, Tensor]:
    """Return two samples of images (n, channels, size, size) from the whole corpus, without a clip in common."""
    lengths = np.diff(reader.offsets).tolist()
    filled = [(clip_id, length) for clip_id, length in zip(reader.clip_ids, lengths, strict=True) if length]
    parts = [[(clip_id, index) for clip_id, length in filled[start::2] for index in range(length)] for start in (0, 1)]
    if not all(parts):
        raise PipelineError(f"int8 needs images of at least two clips to measure itself; {source.path} has fewer")
    chosen = [[part[int(index)] for index in np.linspace(0, len(part) - 1, SAMPLED).round()] for part in parts]
    first, second = (
        to_batch([source.images(reader[clip_id])[index] for clip_id, index in dict.fromkeys(sample)], config)
        for sample in chosen
    )
    return first, second


@dataclass(frozen=True)
class Fidelity:
    """How close int8 is to fp32 on held-out images."""

    tokens: int
    share: float  # of the tokens with a cosine of at least COSINE and a length that differs by NORM_ERROR at most
    lowest: float  # the lowest cosine of all tokens
    norm_error: float  # the largest relative error of a token's length

    @property
    def summary(self) -> str:
        """The measurement as text."""
        share = f"{self.share:.1%} of {self.tokens} held-out tokens"
        return (
            f"{share} have a cosine of {COSINE} or more to fp32 (the lowest {self.lowest:.4f}) "
            f"and a length within {NORM_ERROR:.0%} of its own (the largest error {self.norm_error:.1%})"
        )


@dataclass(frozen=True)
class Quantised:
    """A backbone in int8: its file, the sha256 of the file, and the measured fidelity."""

    model: str
    sha256: str
    fidelity: Fidelity


def quantise(config: BackboneConfig, images: Tensor, held_out: Tensor) -> Quantised:
    """Return the backbone in int8, quantised with images (n, C, size, size) and measured on held-out ones.

    Raise PipelineError if it is not close enough to fp32. An earlier result for the same images comes from the cache.
    """
    key = digest(
        [
            config.model_dump(),
            describe_weights(config)["sha256"],
            [hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in (images, held_out)],
            library_versions("nncf", "openvino", "torch"),
            code_version(quantise),
            hardware("cpu"),
        ]
    )
    folder = cache_folder() / "int8" / key
    if not folder.exists():
        _quantise(config, images, held_out, folder)
    fidelity = Fidelity(**json.loads((folder / "fidelity.json").read_text(encoding="utf-8")))
    model = folder / "model.xml"
    return Quantised(str(model), weights_digest(config, str(model)), fidelity)


def weights_digest(config: BackboneConfig, model: str) -> str:
    """Return the sha256 of the weights in use: of the int8 model in this file, or of the backbone."""
    if config.precision == "int8" and model:
        return file_sha256(Path(model), Path(model).with_suffix(".bin"))
    sha256: str = describe_weights(config)["sha256"]
    return sha256


def find_quantised_model(sha256: str) -> str:
    """Return the file of the int8 model with this sha256 from the cache; raise WeightsError if there is none."""
    for model in (cache_folder() / "int8").glob("*/model.xml"):
        if file_sha256(model, model.with_suffix(".bin")) == sha256:
            return str(model)
    raise WeightsError(
        "the backbone in int8 is no longer in $FDAN_CACHE; run: dvc repro --force embed_faces embed_mels"
    )


def _quantise(config: BackboneConfig, images: Tensor, held_out: Tensor, folder: Path) -> None:
    openvino = import_openvino()
    try:
        import nncf
    except ImportError as error:
        raise ParameterError(f"precision: int8 cannot be computed ({error}); pip install '.[openvino]'") from error
    model = convert_to_openvino(config, images.shape[1])
    exact = compile_model(model)(held_out)
    dataset = nncf.Dataset([image[None].numpy() for image in images])
    model = nncf.quantize(model, dataset, subset_size=len(images))
    fidelity = measure_fidelity(exact, compile_model(model)(held_out))
    if fidelity.share < SHARE:
        raise PipelineError(
            f"{config.backbone} in int8: {fidelity.summary}; {SHARE:.0%} are required, so set precision: fp32"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        complete = Path(temporary) / "complete"
        complete.mkdir()
        openvino.save_model(model, complete / "model.xml", compress_to_fp16=False)
        (complete / "fidelity.json").write_text(json.dumps(asdict(fidelity)), encoding="utf-8")
        complete.rename(folder)


def measure_fidelity(exact: Tensor, approximate: Tensor) -> Fidelity:
    """Return how close tokens (n, k, D) are to the exact ones."""
    exact, approximate = exact.double(), approximate.double()
    cosines = cosine_similarity(exact, approximate, dim=-1)
    norm_errors = (approximate.norm(dim=-1) / exact.norm(dim=-1) - 1).abs()
    is_close = (cosines >= COSINE) & (norm_errors <= NORM_ERROR)
    return Fidelity(cosines.numel(), float(is_close.double().mean()), float(cosines.min()), float(norm_errors.max()))
