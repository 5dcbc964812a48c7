"""What is settled before any clip is embedded: whose weights these are, and the model in int8, if it is to be that."""

import logging
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor

from pipeline.backbones import BackboneConfig, describe_weights
from pipeline.embedding import Source, as_batch
from pipeline.engines import quantise
from pipeline.errors import PipelineError
from pipeline.store import Reader

SAMPLED = 256  # pictures to calibrate int8 on, and as many to measure it on
log = logging.getLogger(__name__)


def prepare(reader: Reader, source: Source, config: BackboneConfig) -> tuple[dict[str, Any], str]:
    """Return what the embeddings' attribute `weights` says, and the file of the model in int8, if it is that."""
    weights = describe_weights(config)
    if config.precision != "int8":
        return weights, ""
    made = quantise(config, *_sample(reader, source, config))
    log.info("int8: %s", made.fidelity.told)
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
        as_batch([source.pictures(reader[clip_id])[index] for clip_id, index in dict.fromkeys(some)], config)
        for some in chosen
    )
    return first, second
