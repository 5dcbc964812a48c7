"""Detect and crop the faces in every clip with video."""

from pathlib import Path

from data_manifest.manifest.jobs import clip_jobs
from pipeline.base.params import read_section
from pipeline.faces.crops import FacesConfig
from pipeline.faces.step import write_faces
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES
from stages import run_stage

TARGET = Path("data/faces.h5")


def main() -> None:
    """Write `data/faces.h5` and its contact sheet."""
    config = read_section("faces", FacesConfig)
    jobs = clip_jobs("visual")
    write_faces(TARGET, jobs, config, run=read_section("run", ExecutionConfig))
    # Not imported at the top, because workers import this module too, and they draw nothing.
    from pipeline.faces.sheet import draw_faces

    sheet = Path("results/figures/faces/faces.png")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    if jobs:
        videos = {job.clip_id: job.load().video for job in jobs}
        draw_faces(Reader(TARGET, schema=FACES), videos, sheet, frames_per_clip=config.frames_per_clip)


if __name__ == "__main__":
    run_stage(main)
