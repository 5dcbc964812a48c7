"""Compute the spectrogram windows of every clip with audio."""

from pathlib import Path

from data_manifest.manifest.jobs import clip_jobs
from pipeline.base.params import read_section
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.step import write_windows
from pipeline.store.reader import Reader
from pipeline.store.schemas import WINDOWS
from stages import run_stage

TARGET = Path("data/spectrograms.h5")


def main() -> None:
    """Write `data/spectrograms.h5` and its contact sheet."""
    config = read_section("spectrograms", SpectrogramsConfig)
    jobs = clip_jobs("acoustic")
    write_windows(TARGET, jobs, config, run=read_section("run", ExecutionConfig))
    # Not imported at the top, because workers import this module too, and they draw nothing.
    from pipeline.spectrograms.sheet import draw_spectrograms

    sheet = Path("results/figures/spectrograms/spectrograms.png")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    if jobs:
        draw_spectrograms(Reader(TARGET, schema=WINDOWS), sheet)


if __name__ == "__main__":
    run_stage(main)
