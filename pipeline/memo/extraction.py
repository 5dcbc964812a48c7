"""Mapping a step over clips: what the memo holds is read, the rest is computed, failures are recorded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.base.errors import ClipError, ExcludedClipError, PipelineError
from pipeline.base.provenance import code_version, digest, fingerprint, library_versions, plugin_distributions
from pipeline.memo.entries import Memo
from pipeline.parallel.pool import Pool, bounded_map
from pipeline.parallel.progress import progress_bar
from pipeline.store.columns import Arrays
from pipeline.store.writer import open_writer

FAILURES_SHOWN = 20
EXCLUDED = "excluded"  # the only column of a result that says why parameters leave the clip out


@dataclass(frozen=True)
class Step:
    """A per-clip computation, and everything that shapes its result."""

    name: str
    compute: Callable[[Any], Arrays]  # a function of a module, or a partial of one: workers must find it
    code: Callable[..., Any]  # the function whose module and imports are the step's code
    params: Any
    libraries: tuple[str, ...]
    hardware: str  # what computes: a pool knows it
    plugin: Callable[..., Any] | None = None  # the builder behind a name in params, which may be a user's
    weights: Callable[[], str] | None = None  # gives the sha256 of what is read beside the clip
    upstream: str = ""  # the fingerprint of the step whose results this one reads

    ingredients: dict[str, Any] = field(init=False)  # what makes two results of one clip differ, of this moment

    def __post_init__(self) -> None:
        """Find out what there is: code, libraries, weights."""
        ingredients = {
            "step": self.name,
            "code": code_version(self.code),
            "plugin": code_version(self.plugin) if self.plugin else "",
            "params": self.params,
            "libraries": library_versions(*self.libraries, *plugin_distributions(self.plugin)),
            "weights": self.weights() if self.weights else "",
            "upstream": self.upstream,
            "hardware": self.hardware,
        }
        object.__setattr__(self, "ingredients", ingredients)

    @property
    def version(self) -> str:
        """The ingredients in one word."""
        return digest(self.ingredients)

    @property
    def fingerprint(self) -> str:
        """The short name of the ingredients."""
        return fingerprint(self.ingredients)


@dataclass(frozen=True)
class ClipJob:
    """One clip for one step."""

    clip_id: str
    sha256: str  # sha256 of the clip's bytes
    load: Callable[[], Any]  # gives the step's argument; called only if there is something to compute
    unchanged: Callable[[], bool] = lambda: True  # whether what `load` gives still has this content


@dataclass
class ExtractionSummary:
    """What came of a run: filled while it is iterated."""

    title: str
    total: int
    computed: int = 0
    remembered: int = 0
    failures: dict[str, str] = field(default_factory=dict)  # clip id to reason
    excluded: dict[str, str] = field(default_factory=dict)  # likewise; parameters want it so

    @property
    def summary(self) -> str:
        """What is not computed, in words that leave a bar of 80 columns room for the time that is left."""
        return f"{self.remembered} from the memo, {len(self.failures)} failed"


def extract(
    jobs: Sequence[ClipJob],
    step: Step,
    tally: ExtractionSummary,
    *,
    pool: Pool,
    quiet: bool = False,
) -> Iterator[tuple[str, Arrays]]:
    """Yield (clip id, result) in the order of `jobs`; clips that fail are left to the tally.

    Raise when more than `max_failures` of the clips failed; if `quiet`, leave that to who reads the tally.
    """
    memo = Memo()
    version = step.version

    def start(job: ClipJob) -> Arrays | Callable[[], Arrays]:
        remembered = memo.read(step.name, digest([job.sha256, version]))
        if remembered is not None:
            return remembered
        return pool.submit(step.compute, job.load(), version=version, here=partial(_version_here, step))

    with progress_bar(hidden=quiet) as bar:
        task = bar.add_task(tally.title, total=tally.total, summary="")
        for job, started in bounded_map(jobs, start, workers=lambda: pool.workers):
            result: Arrays | None = None
            if not callable(started):
                result = started
                tally.remembered += 1
            else:
                try:
                    result = started()
                except ExcludedClipError as error:
                    result = {EXCLUDED: np.frombuffer(str(error).encode(), np.uint8)}
                except ClipError as error:
                    tally.failures[job.clip_id] = " ".join(str(error).split())
                if not job.unchanged():
                    raise PipelineError(f"the media of {job.clip_id} have changed meanwhile; run: dvc repro")
                if result is not None:
                    memo.write(step.name, digest([job.sha256, version]), result)
                    tally.computed += 1
            if result is not None and EXCLUDED in result:
                tally.excluded[job.clip_id] = result[EXCLUDED].tobytes().decode()
            elif result is not None:
                yield job.clip_id, result
            bar.update(task, advance=1, summary=tally.summary)
    if not quiet:
        _report(tally, pool.run.max_failures)


def _version_here(step: Step) -> str:
    return replace(step).version  # made anew: nothing of what another machine found comes with it


def extract_to_file(
    target: Path,
    jobs: Sequence[ClipJob],
    step: Step,
    *,
    like: Arrays,
    attributes: Mapping[str, Any],
    pool: Pool,
    lost_before: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> ExtractionSummary:
    """Write the results of all jobs to an HDF5 file, which tells its fingerprint and the clips that are not in it.

    `lost_before` are the attributes of an earlier step's file: what it has lost is lost.
    """
    tally = ExtractionSummary(step.name, len(jobs))
    own = {"config": step.params, "fingerprint": step.fingerprint}
    lost = {name: dict((lost_before or {}).get(name, {})) for name in ("failures", "excluded")}
    everything = {**attributes, **own, **lost}
    contents = {job.clip_id: job.sha256 for job in jobs}
    with open_writer(target, like=like, attributes=everything) as writer:
        for clip_id, result in extract(jobs, step, tally, pool=pool, quiet=quiet):
            writer.append(clip_id, result, media_sha256=contents[clip_id])
        lost["failures"] |= tally.failures
        lost["excluded"] |= tally.excluded
    return tally


def _report(tally: ExtractionSummary, max_failures: float) -> None:
    """Show what was computed, what came from the memo, what failed and why; raise if too much failed."""
    table = Table("", "computed", "from the memo", "left out", "failed", *["why"][: len(tally.failures)])
    counts = (tally.computed, tally.remembered, len(tally.excluded), len(tally.failures))
    why = [f"{clip_id}: {reason}" for clip_id, reason in tally.failures.items()]
    if len(why) > FAILURES_SHOWN:
        why[FAILURES_SHOWN:] = [f"and {len(why) - FAILURES_SHOWN} more: the file's attribute `failures` has all"]
    table.add_row(tally.title, *map(str, counts), *([escape("\n".join(why))] if why else []))
    Console(stderr=True).print(table)
    if len(tally.failures) > max_failures * tally.total:
        raise PipelineError(
            f"{tally.title}: {len(tally.failures)} of {tally.total} clips failed, more than run.max_failures = "
            f"{max_failures:.0%} allows; the first: {next(iter(tally.failures.items()))}"
        )
