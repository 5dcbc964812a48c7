"""The stage `spectrograms`: media to spectrogram windows, clip by clip."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.base.registry import lookup
from pipeline.media.limits import Limits
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig
from pipeline.spectrograms.windows import LIBRARIES, extract_windows
from pipeline.store.clips import ClipWindows
from pipeline.store.columns import compute_columns, to_columns
from pipeline.store.schemas import WINDOWS


def write_windows(
    target: Path, jobs: Sequence[ClipJob], config: SpectrogramsConfig, *, run: ExecutionConfig, quiet: bool = False
) -> ExtractionSummary:
    """Write the spectrogram windows of clips to an HDF5 file; a job loads the path of a media file with audio."""
    with Pool(run) as pool:
        return extract_to_file(
            target,
            jobs,
            windows_step(config, pool),
            like=to_columns(ClipWindows.empty(config.bands)),
            attributes={"schema": WINDOWS.name},
            pool=pool,
            quiet=quiet,
        )


def windows_step(config: SpectrogramsConfig, pool: Pool) -> Step:
    """Return the step from the path of a media file with audio to spectrogram windows."""
    return Step(
        name="spectrograms",
        compute=partial(compute_columns, partial(extract_windows, config=config, limits=Limits.of(pool.run))),
        code=extract_windows,
        plugin=lookup(SPECTROGRAMS, config.kind, "spectrogram"),
        params=config.model_dump(),
        libraries=LIBRARIES,
        hardware=pool.hardware,
    )
