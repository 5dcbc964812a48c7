"""The clips of the manifest as jobs for a step that opens their media."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from data_manifest.manifest.checksums import media_checksums
from data_manifest.manifest.clips import MANIFEST, Clip, clip_sha256, read_rows
from data_manifest.manifest.paths import LINK_REFUSED, outside_check
from data_manifest.manifest.roots import CorpusRoot, corpus_roots
from pipeline.base.digests import file_state
from pipeline.base.errors import CorpusError
from pipeline.base.selection import evenly_spaced
from pipeline.media.files import ClipFiles
from pipeline.memo.extraction import ClipJob


def clip_jobs(modality: Literal["visual", "acoustic"], *, at_most: int | None = None) -> list[ClipJob]:
    """Return a job for every clip that has the modality; it loads the clip's `ClipFiles`, or the path of its audio.

    With `at_most`, return so many, evenly spaced in the manifest.
    """
    corpora = corpus_roots()
    roots = {name: corpus.root.absolute() for name, corpus in corpora.items()}  # workers may run in another folder
    clips = [clip for clip in read_rows(MANIFEST, Clip) if modality in clip.modalities]
    clips = clips if at_most is None else evenly_spaced(clips, at_most)
    for corpus in sorted({clip.corpus for clip in clips} - roots.keys()):
        raise CorpusError(f"{MANIFEST} lists clips of {corpus!r}, which is not in corpora; run: dvc repro manifest")
    _refuse_links(clips, corpora)
    states = {path: file_state(path) for clip in clips for path in _media_paths(clip, roots)}
    _refuse_changed_media(clips, roots)
    return [
        ClipJob(
            clip.clip_id,
            clip.sha256,
            partial(_video_and_audio if modality == "visual" else _audio, clip, roots[clip.corpus]),
            partial(_is_unchanged, {path: states[path] for path in _media_paths(clip, roots)}),
        )
        for clip in clips
    ]


def _video_and_audio(clip: Clip, root: Path) -> ClipFiles:
    return ClipFiles(root / clip.path, root / clip.audio_source)


def _audio(clip: Clip, root: Path) -> Path:
    return root / clip.audio_source


def _refuse_links(clips: Sequence[Clip], corpora: Mapping[str, CorpusRoot]) -> None:
    """Raise if a clip's file is outside its corpus. The stage `corpus` leaves it out, a table made by hand may not."""
    checks = {name: outside_check(corpus.root) for name, corpus in corpora.items() if not corpus.follow_links}
    for clip in clips:
        for path in clip.files:
            if clip.corpus in checks and checks[clip.corpus](path):
                raise CorpusError(f"{MANIFEST}: {path} of {clip.clip_id} is {LINK_REFUSED} for corpora.{clip.corpus}")


def _media_paths(clip: Clip, roots: Mapping[str, Path]) -> list[Path]:
    return [roots[clip.corpus] / path for path in clip.files]


def _refuse_changed_media(clips: Sequence[Clip], roots: Mapping[str, Path]) -> None:
    """Raise if media have changed since the manifest was made: the memo would store results under an outdated key."""
    files = {path for clip in clips for path in _media_paths(clip, roots)}
    # Missing and unreadable files are skipped: the memo may already contain the results for their clips.
    checksums = media_checksums(
        # Path.is_file raises for a name that is too long.
        sorted(path for path in files if os.path.isfile(path) and os.access(path, os.R_OK)),  # noqa: PTH113
        title="check media",
    )
    for clip in clips:
        paths = _media_paths(clip, roots)
        if checksums.keys() >= {*paths} and clip_sha256([checksums[path] for path in paths]) != clip.sha256:
            raise CorpusError(f"{clip.path} has changed since {MANIFEST} was made; run: dvc repro")


def _is_unchanged(states: Mapping[Path, str]) -> bool:
    return all(file_state(path) == state for path, state in states.items())
