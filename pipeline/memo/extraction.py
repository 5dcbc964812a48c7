"""Mapping a step over clips: results come from the memo or are computed, and failures are recorded."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.base.errors import (
    AbsentModalityError,
    ClipError,
    ExcludedClipError,
    PipelineError,
    describe,
    is_full_disk,
)
from pipeline.base.provenance import code_version, digest, fingerprint, library_versions, plugin_distributions
from pipeline.base.text import printable
from pipeline.memo.entries import Memo
from pipeline.parallel.pool import Pool, bounded_map
from pipeline.parallel.progress import progress_bar
from pipeline.store.columns import Arrays
from pipeline.store.writer import open_writer

REASONS_SHOWN = 20
FIRST_CLIPS = 3  # if each of them fails with an unexpected exception, the code is at fault
# The only column in the result of a clip that an exception of this type ended: the reason, as UTF-8 bytes.
REASONS: dict[type[ClipError], str] = {AbsentModalityError: "absent", ExcludedClipError: "excluded"}


@dataclass(frozen=True)
class Step:
    """A per-clip computation, and everything that shapes its result."""

    name: str
    compute: Callable[[Any], Arrays]  # a module-level function or a partial of one, because workers import it
    code: Callable[..., Any]  # the function whose module and imports are the step's code
    params: Any
    libraries: tuple[str, ...]
    hardware: str  # of the workers; see `Pool.hardware`
    plugin: Callable[..., Any] | None = None  # the builder that a name in params refers to; may be a user's
    weights: Callable[[], str] | None = None  # returns the sha256 of the files that the step reads besides the clip
    upstream: str = ""  # the fingerprint of the step whose results this one reads

    ingredients: dict[str, Any] = field(init=False)  # everything but the clip that shapes a result, at creation time

    def __post_init__(self) -> None:
        """Look up the current versions of code, libraries and weights."""
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
        """The sha256 of the ingredients."""
        return digest(self.ingredients)

    @property
    def fingerprint(self) -> str:
        """The first digits of `version`, for attributes and figures."""
        return fingerprint(self.ingredients)


@dataclass(frozen=True)
class ClipJob:
    """One clip for one step."""

    clip_id: str
    sha256: str  # of the clip's bytes
    load: Callable[[], Any]  # returns the step's argument; called only if the memo lacks the result
    is_unchanged: Callable[[], bool] = lambda: True  # whether the media still have this sha256


@dataclass
class ExtractionSummary:
    """Counts and failures of one extraction, which `extract` updates clip by clip."""

    title: str
    total: int
    computed: int = 0
    from_memo: int = 0
    unexpected: int = 0  # failures by an exception that is not a `ClipError`
    failures: dict[str, str] = field(default_factory=dict)  # clip id to reason
    absent: dict[str, str] = field(default_factory=dict)  # clip id to reason; the clip lacks the modality
    excluded: dict[str, str] = field(default_factory=dict)  # clip id to reason; excluded by the parameters

    @property
    def text(self) -> str:
        """The end of the progress bar's line, short enough for a screen of 80 columns."""
        return f"{self.from_memo} from the memo, {len(self.failures)} failed"


def extract(
    jobs: Sequence[ClipJob],
    step: Step,
    summary: ExtractionSummary,
    *,
    pool: Pool,
    quiet: bool = False,
) -> Iterator[tuple[str, Arrays]]:
    """Yield (clip id, result) in the order of `jobs`; record all other clips in `summary`.

    Whatever exception a clip causes is its failure. It is raised, though, if it says that the code is at fault: if it
    is a `PipelineError` other than `ClipError`, or if unexpected exceptions end each of the first clips, or a larger
    share of the clips than `run.max_failures`. At the end, print a table, and raise if a larger share failed for any
    reason. If `quiet`, show no table and no progress bar, and let any share of the clips fail.
    """
    memo = Memo()
    version = step.version
    current_version = partial(_current_version, step)

    def start(job: ClipJob) -> Arrays | Callable[[], Arrays]:
        result = memo.read(step.name, digest([job.sha256, version]))
        if result is not None:
            return result
        try:
            argument = job.load()
        except Exception as error:  # noqa: BLE001  # `_result_of` decides whose fault it is
            return partial(_raise, error)
        limit_s = pool.run.clip_timeout_s
        return pool.submit(step.compute, argument, timeout_s=limit_s, version=version, worker_version=current_version)

    with progress_bar(hidden=quiet) as bar:
        task = bar.add_task(summary.title, total=summary.total, summary="")
        for job, started in bounded_map(jobs, start, workers=lambda: pool.workers):
            result = _result_of(job, started) if callable(started) else started
            if isinstance(result, Exception):
                summary.failures[job.clip_id] = describe(result)
                is_expected = isinstance(result, ClipError)
                summary.unexpected += not is_expected
                if not (is_expected or quiet):
                    _stop_if_code_is_at_fault(result, job.clip_id, summary, pool.run.max_failures)
            else:
                if callable(started):
                    memo.write(step.name, digest([job.sha256, version]), result)
                    summary.computed += 1
                else:
                    summary.from_memo += 1
                if kind := next((it for it in REASONS.values() if it in result), ""):
                    getattr(summary, kind)[job.clip_id] = result[kind].tobytes().decode()
                else:
                    yield job.clip_id, result
            bar.update(task, advance=1, summary=summary.text)
    if not quiet:
        _report(summary, pool.run.max_failures)


def count_in_memo(sha256s: Iterable[str], step: Step) -> int:
    """Return of how many clips the memo holds the step's result; each clip is given by its sha256."""
    memo, version = Memo(), step.version
    return sum(memo.holds(step.name, digest([sha256, version])) for sha256 in sha256s)


def _raise(error: Exception) -> Arrays:
    raise error


def _result_of(job: ClipJob, wait: Callable[[], Arrays]) -> Arrays | Exception:
    """Return the result that `wait` returns, or the exception that is the clip's fault; raise any other."""
    result: Arrays | Exception
    try:
        result = wait()
    except (AbsentModalityError, ExcludedClipError) as error:
        result = {REASONS[type(error)]: np.frombuffer(describe(error).encode(), np.uint8)}
    except Exception as error:
        if is_full_disk(error) or (isinstance(error, PipelineError) and not isinstance(error, ClipError)):
            raise
        result = error
    if not job.is_unchanged():
        raise PipelineError(f"the media of {job.clip_id} changed during the run; run: dvc repro")
    return result


def _stop_if_code_is_at_fault(error: Exception, clip_id: str, summary: ExtractionSummary, max_failures: float) -> None:
    """Raise the unexpected exception of a clip if other clips failed like it, or none succeeded."""
    count, total = summary.unexpected, summary.total
    has_worked = summary.computed + summary.from_memo > 0 or len(summary.failures) > count
    if count > max_failures * total or (count == min(FIRST_CLIPS, total) and not has_worked):
        error.add_note(
            f"{printable(clip_id)} caused this in {summary.title}. {count} of {total} clips have failed by unexpected "
            f"exceptions, more than run.max_failures = {max_failures:.0%} allows or each of the first ones."
        )
        raise error


def _current_version(step: Step) -> str:
    """Return the version of the step with this process's code, libraries and weights, for `Pool.submit`."""
    return replace(step).version  # `replace` looks the ingredients up again


def extract_to_file(
    target: Path,
    jobs: Sequence[ClipJob],
    step: Step,
    *,
    like: Arrays,
    attributes: Mapping[str, Any],
    pool: Pool,
    upstream_attributes: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> ExtractionSummary:
    """Write the results of all jobs to an HDF5 file, with the step's config and fingerprint and all missing clips.

    `like` gives the columns as in `open_writer`. `upstream_attributes` are the attributes of the file that the step
    reads, whose missing clips are also missing here.
    """
    summary = ExtractionSummary(step.name, len(jobs))
    made_by = {"config": step.params, "fingerprint": step.fingerprint}
    missing = {name: dict((upstream_attributes or {}).get(name, {})) for name in ("failures", *REASONS.values())}
    sha256_of = {job.clip_id: job.sha256 for job in jobs}
    with open_writer(target, like=like, attributes={**attributes, **made_by, **missing}) as writer:
        for clip_id, result in extract(jobs, step, summary, pool=pool, quiet=quiet):
            writer.append(clip_id, result, media_sha256=sha256_of[clip_id])
        for name, reasons in missing.items():
            reasons |= getattr(summary, name)  # the writer reads the attributes at the end
    return summary


def _report(summary: ExtractionSummary, max_failures: float) -> None:
    """Print the counts, and a line for each clip without a usable result; raise if too many clips failed."""
    table = Table("", "computed", "from the memo", "of these absent", "of these excluded", "failed")
    counts = (summary.computed, summary.from_memo, *map(len, (summary.absent, summary.excluded, summary.failures)))
    table.add_row(escape(summary.title), *map(str, counts))
    console = Console(stderr=True)
    console.print(table)
    explained = summary.failures | summary.excluded | summary.absent
    lines = [f"{printable(clip_id)}: {reason}" for clip_id, reason in explained.items()]
    if len(lines) > REASONS_SHOWN:
        hidden = len(lines) - REASONS_SHOWN
        lines[REASONS_SHOWN:] = [
            f"and {hidden} more; the attributes `failures`, `excluded` and `absent` of the file list all"
        ]
    for line in lines:  # below the table, in which a log file's 80 columns would cut the names
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if len(summary.failures) > max_failures * summary.total:
        raise PipelineError(
            f"{summary.title}: {len(summary.failures)} of {summary.total} clips failed, more than run.max_failures = "
            f"{max_failures:.0%} allows; the first: {next(iter(summary.failures.items()))}"
        )
