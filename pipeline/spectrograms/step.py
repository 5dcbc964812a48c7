"""Media to spectrogram windows."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.base.registry import lookup
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig
from pipeline.spectrograms.windows import LIBRARIES, extract_windows, no_windows
from pipeline.store.schemas import PICTURES


def write_windows(
    target: Path, jobs: Sequence[ClipJob], config: SpectrogramsConfig, *, run: ExecutionConfig, quiet: bool = False
) -> ExtractionSummary:
    """Write the spectrogram windows of clips; a job loads the path of the sound."""
    with Pool(run) as pool:
        step = Step(
            name="spectrograms",
            compute=partial(extract_windows, config=config),
            code=extract_windows,
            plugin=lookup(SPECTROGRAMS, config.kind, "spectrogram"),
            params=config.model_dump(),
            libraries=LIBRARIES,
            hardware=pool.hardware,
        )
        return extract_to_file(
            target,
            jobs,
            step,
            like=no_windows(config),
            attributes={"schema": PICTURES["acoustic"]},
            pool=pool,
            quiet=quiet,
        )
