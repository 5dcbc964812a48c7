"""Embed face crops (`faces`, section embed_faces) or spectrogram windows (`mels`, section embed_mels) as tokens."""

from pathlib import Path

from pipeline.base.params import read_argument, read_section
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.step import embed_file
from pipeline.embeddings.tokens import SOURCES
from pipeline.parallel.pool import ExecutionConfig
from stages import run_stage


def main() -> None:
    """Write `data/embeddings/visual.h5` or `acoustic.h5`."""
    source = SOURCES[read_argument(SOURCES)]
    config = read_section(source.stage, BackboneConfig)
    target = Path("data/embeddings") / f"{source.modality}.h5"
    embed_file(target, source.path, source=source, config=config, run=read_section("run", ExecutionConfig))


if __name__ == "__main__":
    run_stage(main)
