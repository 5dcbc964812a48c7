"""Compute the spectrogram windows of every clip that has sound."""

from functools import partial
from pathlib import Path

from data_manifest.jobs import clip_jobs
from pipeline.extraction import Step, fill
from pipeline.figures.sheets import draw_spectrograms
from pipeline.parallel import RunConfig
from pipeline.params import read_section
from pipeline.registry import lookup
from pipeline.spectrograms import (
    LIBRARIES,
    SCHEMA,
    SPECTROGRAMS,
    SpectrogramsConfig,
    extract_windows,
    no_windows,
)
from pipeline.store import Reader
from stages import run

TARGET = Path("data/spectrograms.h5")


def main() -> None:
    """Write `data/spectrograms.h5` and its contact sheet."""
    config = read_section("spectrograms", SpectrogramsConfig)
    step = Step(
        name="spectrograms",
        compute=partial(extract_windows, config=config),
        code=extract_windows,
        plugin=lookup(SPECTROGRAMS, config.kind, "spectrogram"),
        params=config.model_dump(),
        libraries=LIBRARIES,
    )
    run_config = read_section("run", RunConfig)
    fill(TARGET, clip_jobs("acoustic"), step, like=no_windows(config), attributes={"schema": SCHEMA}, run=run_config)
    draw_spectrograms(Reader(TARGET, schema=SCHEMA), Path("results/figures/spectrograms.png"))


if __name__ == "__main__":
    run(main)
