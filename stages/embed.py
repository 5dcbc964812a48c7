"""Embed face crops (`faces`, section embed_faces) or spectrogram windows (`mels`, section embed_mels) as tokens."""

import logging
from pathlib import Path

from pipeline.base.params import read_argument, read_section
from pipeline.base.provenance import RANDOM_WEIGHTS
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import choose_convolution
from pipeline.embeddings.int8 import prepare_weights
from pipeline.embeddings.step import write_tokens
from pipeline.embeddings.tokens import SOURCES
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.reader import Reader
from stages import run_stage

log = logging.getLogger(__name__)


def main() -> None:
    """Write `data/embeddings/visual.h5` or `acoustic.h5`."""
    source = SOURCES[read_argument(SOURCES)]
    config = read_section(source.stage, BackboneConfig)
    if config.weights == "random":
        log.warning(RANDOM_WEIGHTS)
    run_config = read_section("run", ExecutionConfig)
    config = choose_convolution(config, device=run_config.device)
    reader = Reader(source.path, schema=source.schema)
    weights, model = prepare_weights(reader, source, config)
    target = Path("data/embeddings") / f"{source.modality}.h5"
    write_tokens(target, reader, source=source, config=config, weights=weights, model=model, run=run_config)


if __name__ == "__main__":
    run_stage(main)
