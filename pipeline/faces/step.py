"""Media to faces."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.base.registry import lookup
from pipeline.faces.crops import LIBRARIES, NO_FACES, FacesConfig, extract_faces, weights_digest
from pipeline.faces.detectors import DETECTORS
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.schemas import PICTURES


def write_faces(
    target: Path, jobs: Sequence[ClipJob], config: FacesConfig, *, run: ExecutionConfig, quiet: bool = False
) -> ExtractionSummary:
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
        return extract_to_file(
            target, jobs, step, like=NO_FACES, attributes={"schema": PICTURES["visual"]}, pool=pool, quiet=quiet
        )
