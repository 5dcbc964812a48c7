"""Check of backbones: the step of their stages, on the images of a few clips."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.base.errors import PipelineError
from pipeline.base.params import read_section
from pipeline.base.selection import count_noun, evenly_spaced
from pipeline.checking._sections import read_configs
from pipeline.checking.arguments import Request
from pipeline.checking.clips import CLIPS, few_clips
from pipeline.checking.extraction import Extracted, extract, make_report, read_limits
from pipeline.checking.reports import FOLDER, CheckReport, prepare, try_reference
from pipeline.drawing.figure import COLOURS, save
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import choose_convolution
from pipeline.embeddings.tokens import SOURCES, Source, embed_clip
from pipeline.faces.crops import FacesConfig, extract_clip_faces
from pipeline.media.files import ClipFiles
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.windows import extract_windows
from pipeline.store.clips import ClipFaces, ClipTokens, ClipWindows
from pipeline.store.reader import Reader


def check_backbone(request: Request) -> CheckReport:
    """Check a backbone by the tokens that its stage makes of the images of a few clips."""
    source = next(it for it in SOURCES.values() if it.stage == request.part.section)
    mine, other = read_configs(request, BackboneConfig)
    device = read_section("run", ExecutionConfig).device
    origin, images = _read_images(source)

    def run(config: BackboneConfig) -> Extracted:
        usable = choose_convolution(config, device=device)
        return extract(partial(embed_clip, source=source, config=usable, device=device), images)

    ours = run(mine)
    notes = ours.reasons + [_describe_tokens(ours, sum(len(it.times) for it in images.values()))]
    theirs = try_reference(other.backbone, partial(run, other), notes)
    results = {mine.backbone: ours, other.backbone: theirs}
    picture = FOLDER / f"{request.key}.png"
    _draw_spectra(results, picture)
    return make_report(request, origin, results, notes, picture)


def _read_images(source: Source) -> tuple[str, dict[str, ClipFaces | ClipWindows]]:
    """Return where the images of a few clips are from, and the clips with them: from their file, if it exists."""
    if source.path.is_file():
        reader: Reader[Any] = Reader(source.path, schema=source.schema)
        chosen = evenly_spaced(reader.clip_ids, CLIPS)
        if chosen:
            return f"{count_noun(len(chosen), 'clip')} of {source.path}", {it: reader[it] for it in chosen}
    with TemporaryDirectory() as folder:
        few = few_clips("visual" if source.modality == "visual" else "acoustic", Path(folder))
        extracted = extract(_image_step(source), few.files)
    images = {clip_id: it for clip_id, it in extracted.clips.items() if not isinstance(it, str)}
    if not images:
        raise PipelineError(f"no clip has images for {source.stage}: {extracted.reasons[0]}")
    return few.origin, images


def _image_step(source: Source) -> Callable[[ClipFiles], ClipFaces | ClipWindows]:
    """Return the step before the backbone, with the settings of `params.yaml`."""
    if source.modality == "visual":
        faces = read_section("faces", FacesConfig)
        return lambda files: extract_clip_faces(files, faces, limits=read_limits())
    spectrograms = read_section("spectrograms", SpectrogramsConfig)
    return lambda files: extract_windows(files.audio, spectrograms, limits=read_limits())


def _singular_values(extracted: Extracted) -> NDArray[np.float64]:
    """Return the singular values of all tokens (n, D) without their mean, the largest first."""
    clips = [it.tokens for it in extracted.clips.values() if isinstance(it, ClipTokens)]
    tokens = np.concatenate(clips).astype(np.float64)
    values: NDArray[np.float64] = np.linalg.svd(tokens - tokens.mean(0), compute_uv=False)
    return values[: max(1, len(tokens) - 1)]  # without their mean, the last one is rounding


def _describe_tokens(extracted: Extracted, images: int) -> str:
    """Return how many tokens an image has, how wide they are, and in how many directions they vary."""
    clips = [it.tokens for it in extracted.clips.values() if isinstance(it, ClipTokens)]
    squares = _singular_values(extracted) ** 2
    directions = int((np.cumsum(squares) < 0.99 * squares.sum()).sum()) + 1
    count = sum(len(it) for it in clips)
    return (
        f"{count_noun(count // max(1, images), 'token')} of width {clips[0].shape[1]} for an image; "
        f"{count_noun(directions, 'direction')} {'holds' if directions == 1 else 'hold'} "
        f"99 % of the variance of {count} tokens"
    )


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
    axis.set_yticks([10.0**-power for power in range(6)], ["1", "0.1", "0.01", "0.001", "0.0001", "0.00001"])
    axis.set_title("Singular values of the tokens, without their mean", fontsize=10)
    axis.set_xlabel("direction; a steep fall: tokens differ in few of them", fontsize=9)
    axis.legend(fontsize=8, frameon=False)
    save(figure, prepare(path))
