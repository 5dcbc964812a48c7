"""The stage `faces`: media to face crops, clip by clip."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.base.registry import lookup
from pipeline.faces.crops import LIBRARIES, FacesConfig, extract_clip_faces, weights_digest
from pipeline.faces.detectors import DETECTORS
from pipeline.media.limits import Limits
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.clips import ClipFaces
from pipeline.store.columns import compute_columns, to_columns
from pipeline.store.schemas import FACES


def write_faces(
    target: Path, jobs: Sequence[ClipJob], config: FacesConfig, *, run: ExecutionConfig, quiet: bool = False
) -> ExtractionSummary:
    """Write the face crops of clips to an HDF5 file; a job loads the `ClipFiles` of a clip."""
    with Pool(run) as pool:
        return extract_to_file(
            target,
            jobs,
            faces_step(config, pool),
            like=to_columns(ClipFaces.empty()),
            attributes={"schema": FACES.name},
            pool=pool,
            quiet=quiet,
        )


def faces_step(config: FacesConfig, pool: Pool) -> Step:
    """Return the step from the `ClipFiles` of a clip to face crops."""
    return Step(
        name="faces",
        compute=partial(compute_columns, partial(extract_clip_faces, config=config, limits=Limits.of(pool.run))),
        code=extract_clip_faces,
        plugin=lookup(DETECTORS, config.detector, "detector"),
        params=config.model_dump(),
        libraries=LIBRARIES,
        weights=partial(weights_digest, config),
        hardware=pool.hardware,
    )
