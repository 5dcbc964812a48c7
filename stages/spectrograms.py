"""Compute the spectrogram windows of every clip that has sound."""

from pathlib import Path

from data_manifest.jobs import clip_jobs
from pipeline.parallel import RunConfig
from pipeline.params import read_section
from pipeline.spectrograms import SpectrogramsConfig
from pipeline.steps.spectrograms import write_windows
from pipeline.store import PICTURES, Reader
from stages import run

TARGET = Path("data/spectrograms.h5")


def main() -> None:
    """Write `data/spectrograms.h5` and its contact sheet."""
    config = read_section("spectrograms", SpectrogramsConfig)
    write_windows(TARGET, clip_jobs("acoustic"), config, run=read_section("run", RunConfig))
    # Workers import this module, too, and draw nothing.
    from pipeline.figures.sheets import draw_spectrograms

    draw_spectrograms(Reader(TARGET, schema=PICTURES["acoustic"]), Path("results/figures/spectrograms.png"))


if __name__ == "__main__":
    run(main)
