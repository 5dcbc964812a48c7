"""Faces or spectrogram windows to tokens."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.base.registry import lookup
from pipeline.embeddings.backbones import BACKBONES, BackboneConfig
from pipeline.embeddings.engines import LIBRARIES, release_models
from pipeline.embeddings.int8 import weights_digest
from pipeline.embeddings.tokens import Source, embed_clip, empty_tokens
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS


def write_tokens(
    target: Path,
    reader: Reader,
    *,
    source: Source,
    config: BackboneConfig,
    weights: Mapping[str, Any],
    model: str,
    run: ExecutionConfig,
    quiet: bool = False,
) -> ExtractionSummary:
    """Write the tokens of all clips of the reader.

    `weights` and `model` are what `calibration.prepare` gives.
    """
    jobs = [ClipJob(clip_id, reader.media_sha256[clip_id], partial(reader.__getitem__, clip_id)) for clip_id in reader]
    attributes = {
        "schema": EMBEDDINGS,
        "modality": source.modality,
        "weights": weights,
        "upstream": {name: reader.attributes[name] for name in ("config", "fingerprint")} | {"version": reader.version},
    }
    with Pool(run, device=run.device) as pool:
        step = Step(
            name={"visual": "embed_faces", "acoustic": "embed_mels"}[source.modality],
            compute=partial(embed_clip, source=source, config=config, device=run.device, model=model),
            code=embed_clip,
            plugin=lookup(BACKBONES, config.backbone, "backbone"),
            params=config.model_dump(),
            libraries=LIBRARIES[config.engine],
            weights=partial(weights_digest, config, model),
            upstream=reader.attributes["fingerprint"],
            hardware=pool.hardware,
        )
        like = empty_tokens(source, config)
        if run.scheduler != "synchronous":
            release_models()  # from here on only the workers need a network
        return extract_to_file(
            target,
            jobs,
            step,
            like=like,
            attributes=attributes,
            pool=pool,
            upstream_attributes=reader.attributes,
            quiet=quiet,
        )
