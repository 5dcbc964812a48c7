"""Faces or spectrogram windows to tokens."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.backbones import BACKBONES, BackboneConfig
from pipeline.embedding import Source, embed_clip, no_tokens
from pipeline.engines import LIBRARIES, release, weights_digest
from pipeline.extraction import ClipJob, Step, Tally, fill
from pipeline.parallel import Pool, RunConfig
from pipeline.registry import lookup
from pipeline.store import EMBEDDINGS, Reader


def write_tokens(
    target: Path,
    reader: Reader,
    *,
    source: Source,
    config: BackboneConfig,
    weights: Mapping[str, Any],
    model: str,
    run: RunConfig,
    quiet: bool = False,
) -> Tally:
    """Write the tokens of all clips of the reader.

    `weights` and `model` are what `calibration.prepare` gives.
    """
    jobs = [ClipJob(clip_id, reader.contents[clip_id], partial(reader.__getitem__, clip_id)) for clip_id in reader]
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
        like = no_tokens(source, config)
        if run.scheduler != "synchronous":
            release()  # from here on only the workers need a network
        return fill(
            target, jobs, step, like=like, attributes=attributes, pool=pool, lost_before=reader.attributes, quiet=quiet
        )
