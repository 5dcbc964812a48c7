"""Media to spectrogram windows."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.extraction import ClipJob, Step, Tally, fill
from pipeline.parallel import Pool, RunConfig
from pipeline.registry import lookup
from pipeline.spectrograms import LIBRARIES, SPECTROGRAMS, SpectrogramsConfig, extract_windows, no_windows
from pipeline.store import PICTURES


def write_windows(
    target: Path, jobs: Sequence[ClipJob], config: SpectrogramsConfig, *, run: RunConfig, quiet: bool = False
) -> Tally:
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
        return fill(
            target,
            jobs,
            step,
            like=no_windows(config),
            attributes={"schema": PICTURES["acoustic"]},
            pool=pool,
            quiet=quiet,
        )
