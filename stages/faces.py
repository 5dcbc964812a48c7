"""Detect and crop the faces of every clip that has a picture."""

from pathlib import Path

from data_manifest.jobs import clip_jobs
from pipeline.faces import FacesConfig
from pipeline.parallel import RunConfig
from pipeline.params import read_section
from pipeline.steps.faces import write_faces
from pipeline.store import PICTURES, Reader
from stages import run

TARGET = Path("data/faces.h5")


def main() -> None:
    """Write `data/faces.h5` and its contact sheet."""
    config = read_section("faces", FacesConfig)
    jobs = clip_jobs("visual")
    write_faces(TARGET, jobs, config, run=read_section("run", RunConfig))
    # Workers import this module, too, and draw nothing.
    from pipeline.figures.sheets import draw_faces

    media = {job.clip_id: job.load() for job in jobs}
    sheet = Path("results/figures/faces.png")
    draw_faces(Reader(TARGET, schema=PICTURES["visual"]), media, sheet, frames_per_clip=config.frames_per_clip)


if __name__ == "__main__":
    run(main)
