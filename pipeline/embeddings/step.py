"""The stages `embed_faces` and `embed_mels`: face crops or spectrogram windows to tokens, clip by clip."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.base.memory import file_in_memory
from pipeline.base.provenance import RANDOM_WEIGHTS
from pipeline.base.registry import lookup
from pipeline.embeddings.backbones import BACKBONES, BackboneConfig
from pipeline.embeddings.engines import (
    choose_convolution,
    describe_convolution,
    libraries,
    release_models,
    save_winograd_weights,
)
from pipeline.embeddings.int8 import prepare_weights, weights_digest
from pipeline.embeddings.tokens import Source, embed_clip, token_width
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.clips import ClipTokens
from pipeline.store.columns import compute_columns, to_columns
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS
from pipeline.weights.published import RANDOM

log = logging.getLogger(__name__)


def embed_file(
    target: Path, images: Path, *, source: Source, config: BackboneConfig, run: ExecutionConfig
) -> ExtractionSummary:
    """Write the tokens of all clips in a file of faces or spectrograms, `images`, to another HDF5 file."""
    config = choose_convolution(config, device=run.device)
    reader = Reader(images, schema=source.schema)
    if config.weights == RANDOM and len(reader):
        log.warning(RANDOM_WEIGHTS)
    weights, model = prepare_weights(reader, source, config)
    return write_tokens(target, reader, source=source, config=config, weights=weights, model=model, run=run)


def write_tokens(
    target: Path,
    reader: Reader[Any],
    *,
    source: Source,
    config: BackboneConfig,
    weights: Mapping[str, Any],
    model: str,
    run: ExecutionConfig,
    quiet: bool = False,
) -> ExtractionSummary:
    """Write the tokens of all clips of the reader to an HDF5 file.

    `weights` and `model` are the results of `int8.prepare_weights`.
    """
    if not len(reader):  # only the width of the tokens is needed
        config = config.model_copy(update={"weights": "random", "precision": "fp32"})
    jobs = [ClipJob(clip_id, reader.media_sha256[clip_id], partial(reader.__getitem__, clip_id)) for clip_id in reader]
    attributes = {
        "schema": EMBEDDINGS.name,
        "modality": source.modality,
        "weights": {**weights, **describe_convolution(config, device=run.device)},
        "upstream": {name: reader.attributes[name] for name in ("config", "fingerprint")} | {"version": reader.version},
    }
    with file_in_memory("winograd") as file:
        is_shared = file is not None and config.convolution == "winograd" and run.scheduler == "processes"
        model = str(file) if is_shared else model
        prepare = partial(_hand_over, config, file if is_shared else None)
        with Pool(run, device=run.device, prepare=prepare) as pool:
            empty = ClipTokens.empty(token_width(source, config), views=config.views - 1)  # before a cluster is asked
            step = tokens_step(source, config, pool, model=model, upstream=reader.attributes["fingerprint"])
            return extract_to_file(
                target,
                jobs,
                step,
                like=to_columns(empty),
                attributes=attributes,
                pool=pool,
                upstream_attributes=reader.attributes,
                quiet=quiet,
            )


def _hand_over(config: BackboneConfig, file: Path | None) -> None:
    """Release this process's network before workers start, which need one instead; save its weights for them first."""
    if file:
        save_winograd_weights(config, file)
    release_models()


def tokens_step(source: Source, config: BackboneConfig, pool: Pool, *, model: str, upstream: str) -> Step:
    """Return the step from a clip's images to its tokens; `upstream` is the fingerprint of the images' step."""
    device = pool.run.device
    return Step(
        name=source.stage,
        compute=partial(compute_columns, partial(embed_clip, source=source, config=config, device=device, model=model)),
        code=embed_clip,
        plugin=lookup(BACKBONES, config.backbone, "backbone"),
        params=config.model_dump(),
        libraries=libraries(config),
        weights=partial(weights_digest, config, model),
        upstream=upstream,
        hardware=pool.hardware,
    )
