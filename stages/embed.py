"""Turn pictures into tokens: `faces` with embed_faces' parameters, `mels` with embed_mels'."""

import logging
import sys
from functools import partial
from pathlib import Path

from data_manifest.manifest import MANIFEST, Clip, read_rows
from pipeline.backbones import BACKBONES, BackboneConfig, check_device
from pipeline.calibration import prepare
from pipeline.embedding import SOURCES, embed_clip, no_tokens
from pipeline.engines import LIBRARIES, release
from pipeline.extraction import ClipJob, Step, fill
from pipeline.parallel import RunConfig
from pipeline.params import read_section
from pipeline.registry import lookup
from pipeline.store import EMBEDDINGS, Reader
from stages import run

log = logging.getLogger(__name__)


def main() -> None:
    """Write `data/embeddings/visual.h5` or `acoustic.h5`."""
    source = SOURCES[sys.argv[1]]
    config = read_section(f"embed_{sys.argv[1]}", BackboneConfig)
    if config.weights == "random":
        log.warning("RANDOM WEIGHTS: the backbone was never trained; its figures show that the pipeline works, no more")
    run_config = read_section("run", RunConfig)
    check_device(run_config.device)
    reader = Reader(source.path, schema=source.schema)
    contents = {clip.clip_id: clip.sha256 for clip in read_rows(MANIFEST, Clip)}
    weights, model = prepare(reader, source, config)
    step = Step(
        name=f"embed_{sys.argv[1]}",
        compute=partial(embed_clip, source=source, config=config, device=run_config.device, model=model),
        device=run_config.device.partition(":")[0],
        code=embed_clip,
        plugin=lookup(BACKBONES, config.backbone, "backbone"),
        params=config.model_dump(),
        libraries=LIBRARIES[config.engine],
        weights=weights["sha256"],
        upstream=reader.attributes["fingerprint"],
    )
    jobs = [ClipJob(clip_id, contents[clip_id], partial(reader.__getitem__, clip_id)) for clip_id in reader]
    like = no_tokens(source, config)
    if run_config.scheduler != "synchronous":
        release()  # from here on only the workers need one
    upstream = {name: reader.attributes[name] for name in ("config", "fingerprint")}
    attributes = {"schema": EMBEDDINGS, "modality": source.modality, "weights": weights, "upstream": upstream}
    target = Path("data/embeddings") / f"{source.modality}.h5"
    fill(target, jobs, step, like=like, attributes=attributes, run=run_config, lost_before=reader.attributes)


if __name__ == "__main__":
    run(main)
