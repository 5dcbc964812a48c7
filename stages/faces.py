"""Detect and crop the faces of every clip that has a picture."""

from functools import partial
from pathlib import Path

from data_manifest.jobs import clip_jobs
from pipeline.detectors import DETECTORS, weights_digest
from pipeline.extraction import Step, fill
from pipeline.faces import LIBRARIES, NO_FACES, SCHEMA, FacesConfig, extract_faces
from pipeline.figures.sheets import draw_faces
from pipeline.parallel import RunConfig
from pipeline.params import read_section
from pipeline.registry import lookup
from pipeline.store import Reader
from stages import run

TARGET = Path("data/faces.h5")


def main() -> None:
    """Write `data/faces.h5` and its contact sheet."""
    config = read_section("faces", FacesConfig)
    step = Step(
        name="faces",
        compute=partial(extract_faces, config=config),
        code=extract_faces,
        plugin=lookup(DETECTORS, config.detector, "detector"),
        params=config.model_dump(),
        libraries=LIBRARIES,
        weights=weights_digest(config),
    )
    jobs = clip_jobs("visual")
    fill(TARGET, jobs, step, like=NO_FACES, attributes={"schema": SCHEMA}, run=read_section("run", RunConfig))
    media = {job.clip_id: job.load() for job in jobs}
    sheet = Path("results/figures/faces.png")
    draw_faces(Reader(TARGET, schema=SCHEMA), media, sheet, frames_per_clip=config.frames_per_clip)


if __name__ == "__main__":
    run(main)
