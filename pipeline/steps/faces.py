"""Media to faces."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.detectors import DETECTORS
from pipeline.extraction import ClipJob, Step, Tally, fill
from pipeline.faces import LIBRARIES, NO_FACES, FacesConfig, extract_faces, weights_digest
from pipeline.parallel import Pool, RunConfig
from pipeline.registry import lookup
from pipeline.store import PICTURES


def write_faces(
    target: Path, jobs: Sequence[ClipJob], config: FacesConfig, *, run: RunConfig, quiet: bool = False
) -> Tally:
    """Write the faces of clips; a job loads the path of the film."""
    with Pool(run) as pool:
        step = Step(
            name="faces",
            compute=partial(extract_faces, config=config),
            code=extract_faces,
            plugin=lookup(DETECTORS, config.detector, "detector"),
            params=config.model_dump(),
            libraries=LIBRARIES,
            weights=partial(weights_digest, config),
            hardware=pool.hardware,
        )
        return fill(
            target, jobs, step, like=NO_FACES, attributes={"schema": PICTURES["visual"]}, pool=pool, quiet=quiet
        )
