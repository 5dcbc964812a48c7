"""Checks of detectors and spectrograms: the steps of their stages, on a few clips."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from pipeline.base.errors import AbsentModalityError, ClipError, ExcludedClipError, PipelineError
from pipeline.base.params import read_section
from pipeline.base.selection import count_noun
from pipeline.checking._sections import read_configs
from pipeline.checking.arguments import Request
from pipeline.checking.clips import FewClips, few_clips
from pipeline.checking.reports import FOLDER, CheckReport, measure, prepare, try_reference
from pipeline.drawing.figure import save
from pipeline.drawing.sheet import IMAGES_PER_CLIP, Sheet
from pipeline.faces import sheet as face_sheet
from pipeline.faces.crops import FacesConfig, extract_clip_faces
from pipeline.media.frames import SampledFrames
from pipeline.media.limits import Limits
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms import sheet as window_sheet
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.windows import extract_windows
from pipeline.store.clips import ClipWindows

FACES_ROW_IN, WINDOWS_ROW_IN = (1.2, 1.31), (2.0, 1.1)


class Extracted(NamedTuple):
    """What a part gave for the clips, and the time of a clip."""

    clips: dict[str, Any]  # by clip id: the result, or why the step leaves the clip out
    damaged: dict[str, str]  # by clip id: why it cannot be used
    ms: float

    @property
    def reasons(self) -> list[str]:
        """Why clips have no result, one line each."""
        left_out = {clip_id: it for clip_id, it in self.clips.items() if isinstance(it, str)}
        return [f"{clip_id}: {it}" for clip_id, it in (left_out | self.damaged).items()]


def check_detector(request: Request) -> CheckReport:
    """Check a detector by the face crops that the stage `faces` makes with it."""
    mine, other = read_configs(request, FacesConfig)
    limits = read_limits()
    with TemporaryDirectory() as folder:
        few = few_clips("visual", Path(folder))

        def run(config: FacesConfig) -> Extracted:
            return extract(lambda files: extract_clip_faces(files, config, limits=limits), few.files)

        ours = run(mine)
        notes = ours.reasons
        theirs = try_reference(other.detector, partial(run, other), notes)
        results = {mine.detector: ours, other.detector: theirs}
        picture = FOLDER / f"{request.key}.png"
        _draw_faces(results, few, mine, picture)
    return make_report(request, few.origin, results, notes, picture)


def check_kind(request: Request) -> CheckReport:
    """Check a kind of spectrogram by the windows that the stage `spectrograms` makes with it."""
    mine, other = read_configs(request, SpectrogramsConfig)
    limits = read_limits()
    with TemporaryDirectory() as folder:
        few = few_clips("acoustic", Path(folder))

        def run(config: SpectrogramsConfig) -> Extracted:
            return extract(lambda files: extract_windows(files.audio, config, limits=limits), few.files)

        ours = run(mine)
        notes = ours.reasons + _saturation(ours, mine)
        theirs = try_reference(other.kind, partial(run, other), notes)
    results = {mine.kind: ours, other.kind: theirs}
    picture = FOLDER / f"{request.key}.png"
    _draw_windows(results, few, picture)
    return make_report(request, few.origin, results, notes, picture)


def read_limits() -> Limits:
    """Return the limits of media in the section `run`."""
    return Limits.of(read_section("run", ExecutionConfig))


def extract(compute: Callable[[Any], Any], clips: Mapping[str, Any]) -> Extracted:
    """Return what a step computes; a clip that it leaves out, or that is damaged, has a reason.

    Raise what a stage would stop at, and PipelineError if all clips are damaged.
    """

    def attempt(clip: Any) -> tuple[Any, bool]:
        try:
            return compute(clip), False
        except (AbsentModalityError, ExcludedClipError) as error:
            return str(error), False
        except ClipError as error:
            return str(error), True

    results, ms = measure(attempt, clips.values())
    by_clip = dict(zip(clips, results, strict=True))
    damaged = {clip_id: reason for clip_id, (reason, is_damaged) in by_clip.items() if is_damaged}
    if len(damaged) == len(clips):
        raise PipelineError(f"none of {count_noun(len(clips), 'clip')} can be used; the first: {results[0][0]}")
    return Extracted({clip_id: it for clip_id, (it, is_damaged) in by_clip.items() if not is_damaged}, damaged, ms)


def make_report(
    request: Request, origin: str, results: Mapping[str, Extracted | None], notes: list[str], picture: Path
) -> CheckReport:
    """Return the report of a check that computes clip by clip."""
    ms = {name: it.ms for name, it in results.items() if it is not None}
    return CheckReport(f"{request.part.kind} {request.name!r}", origin, ms, "clip", notes, picture)


def _rows(results: Mapping[str, Extracted | None], clip_ids: Sequence[str]) -> list[tuple[str, str, Any]]:
    """Return the label, the clip and the result of each row of a sheet: all parts for a clip, clip by clip."""
    ran = {name: it.clips for name, it in results.items() if it is not None}
    return [
        (f"{name}\n{clip_id.split('/')[-1]}", clip_id, clips[clip_id])
        for clip_id in clip_ids
        for name, clips in ran.items()
        if clip_id in clips
    ]


def _draw_faces(results: Mapping[str, Extracted | None], few: FewClips, config: FacesConfig, path: Path) -> None:
    """Draw boxes and crops: a row per clip and detector."""
    rows = _rows(results, list(few.files))
    sheet = Sheet("Boxes and crops", rows=len(rows), columns=1 + IMAGES_PER_CLIP, cell_in=FACES_ROW_IN)
    for row, (label, clip_id, clip) in enumerate(rows):
        frames = SampledFrames(few.files[clip_id].video, count=config.frames_per_clip, limits=read_limits())
        face_sheet.draw_row(sheet, row, label, clip, frames)
    save(sheet.figure, prepare(path))


def _draw_windows(results: Mapping[str, Extracted | None], few: FewClips, path: Path) -> None:
    """Draw spectrogram windows: a row per clip and kind."""
    rows = _rows(results, list(few.files))
    counts = [len(it.windows) for _, _, it in rows if isinstance(it, ClipWindows)]
    columns = min(max([*counts, 1]), IMAGES_PER_CLIP)
    sheet = Sheet("Spectrogram windows", rows=len(rows), columns=columns, cell_in=WINDOWS_ROW_IN)
    for row, (label, _, clip) in enumerate(rows):
        if isinstance(clip, ClipWindows):
            window_sheet.draw_row(sheet, row, label, clip, columns=columns)
        else:
            sheet.label_row(row, f"{label}\n{clip}")
    save(sheet.figure, prepare(path))


def _saturation(extracted: Extracted, config: SpectrogramsConfig) -> list[str]:
    """Return a note if most of the images are black or white throughout."""
    windows = [it.windows.flat for it in extracted.clips.values() if isinstance(it, ClipWindows)]
    if not windows:
        return []
    values = np.concatenate(windows)
    black, white = config.range
    for name, limit, share in (("black", black, (values <= 0).mean()), ("white", white, (values >= 1).mean())):
        if share > 0.5:
            return [f"{share:.0%} of the image is {name}; set spectrograms.{name}, now {limit:g}, to your values"]
    return []
