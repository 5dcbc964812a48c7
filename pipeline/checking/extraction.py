"""Checks of detectors, spectrograms and backbones: as in their stages, on a few clips."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.base.errors import AbsentModalityError, ClipError, ExcludedClipError, PipelineError
from pipeline.base.params import read_section
from pipeline.base.selection import count_noun, evenly_spaced
from pipeline.checking.reports import FOLDER, CheckReport, measure, try_reference
from pipeline.checking._sections import read_configs
from pipeline.checking.arguments import Request
from pipeline.checking.clips import CLIPS, FewClips, few_clips
from pipeline.drawing.figure import COLOURS, save
from pipeline.drawing.sheet import IMAGES_PER_CLIP, Sheet
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import choose_convolution
from pipeline.embeddings.tokens import SOURCES, Source, embed_clip
from pipeline.faces import sheet as face_sheet
from pipeline.faces.crops import FacesConfig, extract_clip_faces
from pipeline.media.files import ClipFiles
from pipeline.media.frames import SampledFrames
from pipeline.media.limits import Limits
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms import sheet as window_sheet
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.windows import extract_windows
from pipeline.store.clips import ClipFaces, ClipTokens, ClipWindows
from pipeline.store.reader import Reader

T = TypeVar("T")
FACES_ROW_IN, WINDOWS_ROW_IN = (1.2, 1.31), (2.0, 1.1)


class Extracted(NamedTuple):
    """What a part gave for the clips: the result, or why there is none; and the time of a clip."""

    clips: dict[str, Any]
    ms: float

    @property
    def reasons(self) -> list[str]:
        """Why clips have no result, one line each."""
        return [f"{clip_id}: {it}" for clip_id, it in self.clips.items() if isinstance(it, str)]


def check_detector(request: Request) -> CheckReport:
    """Check a detector by the face crops that the stage `faces` makes with it."""
    mine, other = read_configs(request, FacesConfig)
    limits = _limits()
    with TemporaryDirectory() as folder:
        few = few_clips("visual", Path(folder))

        def run(config: FacesConfig) -> Extracted:
            return _extract(lambda files: extract_clip_faces(files, config, limits=limits), few.files)

        ours = run(mine)
        notes = ours.reasons
        theirs = try_reference(other.detector, partial(run, other), notes)
        results = {mine.detector: ours, other.detector: theirs}
        picture = FOLDER / f"{request.key}.png"
        _draw_faces(results, few, mine, picture)
    return _report(request, few.origin, results, notes, picture)


def check_kind(request: Request) -> CheckReport:
    """Check a kind of spectrogram by the windows that the stage `spectrograms` makes with it."""
    mine, other = read_configs(request, SpectrogramsConfig)
    limits = _limits()
    with TemporaryDirectory() as folder:
        few = few_clips("acoustic", Path(folder))

        def run(config: SpectrogramsConfig) -> Extracted:
            return _extract(lambda files: extract_windows(files.audio, config, limits=limits), few.files)

        ours = run(mine)
        notes = ours.reasons + _saturation(ours, mine)
        theirs = try_reference(other.kind, partial(run, other), notes)
    results = {mine.kind: ours, other.kind: theirs}
    picture = FOLDER / f"{request.key}.png"
    _draw_windows(results, few, picture)
    return _report(request, few.origin, results, notes, picture)


def check_backbone(request: Request) -> CheckReport:
    """Check a backbone by the tokens that its stage makes of the images of a few clips."""
    source = next(it for it in SOURCES.values() if it.stage == request.part.section)
    mine, other = read_configs(request, BackboneConfig)
    device = read_section("run", ExecutionConfig).device
    origin, images = _read_images(source)

    def run(config: BackboneConfig) -> Extracted:
        usable = choose_convolution(config, device=device)
        return _extract(partial(embed_clip, source=source, config=usable, device=device), images)

    ours = run(mine)
    notes = ours.reasons + [_describe_tokens(ours, sum(len(it.times) for it in images.values()))]
    theirs = try_reference(other.backbone, partial(run, other), notes)
    results = {mine.backbone: ours, other.backbone: theirs}
    picture = FOLDER / f"{request.key}.png"
    _draw_spectra(results, picture)
    return _report(request, origin, results, notes, picture)


def _limits() -> Limits:
    return Limits.of(read_section("run", ExecutionConfig))


def _extract(compute: Callable[[Any], Any], clips: Mapping[str, Any]) -> Extracted:
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
    if all(is_damaged for _, is_damaged in results):
        raise PipelineError(f"none of {count_noun(len(results), 'clip')} can be used; the first: {results[0][0]}")
    return Extracted({clip_id: it for clip_id, (it, _) in zip(clips, results, strict=True)}, ms)


def _report(
    request: Request, origin: str, results: Mapping[str, Extracted | None], notes: list[str], picture: Path
) -> CheckReport:
    ms = {name: it.ms for name, it in results.items() if it is not None}
    return CheckReport(f"{request.part.kind} {request.name!r}", origin, ms, "clip", notes, picture)


def _rows(results: Mapping[str, Extracted | None], clip_ids: Sequence[str]) -> list[tuple[str, str, Any]]:
    """Return the label, the clip and the result of each row of a sheet: all parts for a clip, clip by clip."""
    ran = {name: it.clips for name, it in results.items() if it is not None}
    return [
        (f"{name}\n{clip_id.split('/')[-1]}", clip_id, clips[clip_id])
        for clip_id in clip_ids
        for name, clips in ran.items()
    ]


def _draw_faces(results: Mapping[str, Extracted | None], few: FewClips, config: FacesConfig, path: Path) -> None:
    """Draw boxes and crops: a row per clip and detector."""
    rows = _rows(results, list(few.files))
    sheet = Sheet("Boxes and crops", rows=len(rows), columns=1 + IMAGES_PER_CLIP, cell_in=FACES_ROW_IN)
    for row, (label, clip_id, clip) in enumerate(rows):
        frames = SampledFrames(few.files[clip_id].video, count=config.frames_per_clip, limits=_limits())
        face_sheet.draw_row(sheet, row, label, clip, frames)
    _save(sheet.figure, path)


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
    _save(sheet.figure, path)


def _draw_spectra(results: Mapping[str, Extracted | None], path: Path) -> None:
    """Draw the singular values of each backbone's tokens, relative to the largest."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for (name, extracted), colour in zip(results.items(), COLOURS, strict=False):
        if extracted is not None:
            values = _singular_values(extracted)
            axis.plot(np.arange(1, len(values) + 1), values / max(values[0], 1e-12), color=colour, label=name)
    axis.set_yscale("log")
    axis.set_ylim(1e-5, 1.5)
    axis.set_title("Singular values of the tokens, without their mean", fontsize=10)
    axis.set_xlabel("number; a steep fall means that the tokens differ in few directions", fontsize=9)
    axis.legend(fontsize=8, frameon=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)


def _singular_values(extracted: Extracted) -> NDArray[np.float64]:
    """Return the singular values of all tokens (n, D) without their mean, the largest first."""
    clips = [it.tokens for it in extracted.clips.values() if isinstance(it, ClipTokens)]
    tokens = np.concatenate(clips).astype(np.float64)
    values: NDArray[np.float64] = np.linalg.svd(tokens - tokens.mean(0), compute_uv=False)
    return values


def _describe_tokens(extracted: Extracted, images: int) -> str:
    """Return how many tokens an image has, how wide they are, and in how many directions they vary."""
    clips = [it.tokens for it in extracted.clips.values() if isinstance(it, ClipTokens)]
    squares = _singular_values(extracted) ** 2
    directions = int((np.cumsum(squares) < 0.99 * squares.sum()).sum()) + 1
    count = sum(len(it) for it in clips)
    return (
        f"{count_noun(count // max(1, images), 'token')} of width {clips[0].shape[1]} for an image; "
        f"{count_noun(directions, 'direction')} hold 99 % of the variance of {count} tokens"
    )


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


def _read_images(source: Source) -> tuple[str, dict[str, ClipFaces | ClipWindows]]:
    """Return where the images of a few clips are from, and the clips with them: from their file, if it exists."""
    if source.path.is_file():
        reader: Reader[Any] = Reader(source.path, schema=source.schema)
        chosen = evenly_spaced(reader.clip_ids, CLIPS)
        if chosen:
            return f"{count_noun(len(chosen), 'clip')} of {source.path}", {it: reader[it] for it in chosen}
    with TemporaryDirectory() as folder:
        few = few_clips("visual" if source.modality == "visual" else "acoustic", Path(folder))
        extracted = _extract(_image_step(source), few.files)
    images = {clip_id: it for clip_id, it in extracted.clips.items() if not isinstance(it, str)}
    if not images:
        raise PipelineError(f"no clip has images for {source.stage}: {extracted.reasons[0]}")
    return few.origin, images


def _image_step(source: Source) -> Callable[[ClipFiles], ClipFaces | ClipWindows]:
    """Return the step before the backbone, with the settings of `params.yaml`."""
    if source.modality == "visual":
        faces = read_section("faces", FacesConfig)
        return lambda files: extract_clip_faces(files, faces, limits=_limits())
    spectrograms = read_section("spectrograms", SpectrogramsConfig)
    return lambda files: extract_windows(files.audio, spectrograms, limits=_limits())
