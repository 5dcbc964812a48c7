"""The clips of the manifest as work for a step that opens their media."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from data_manifest.manifest.checksums import media_checksums
from data_manifest.manifest.clips import MANIFEST, Clip, clip_sha256, read_rows
from data_manifest.manifest.roots import corpus_roots
from pipeline.base.digests import file_state
from pipeline.base.errors import CorpusError
from pipeline.memo.extraction import ClipJob


def clip_jobs(modality: Literal["visual", "acoustic"]) -> list[ClipJob]:
    """Return a job, the path of the picture or of the sound, for every clip that has the modality."""
    roots = {name: root.absolute() for name, root in corpus_roots().items()}  # workers may run in another folder
    clips = [clip for clip in read_rows(MANIFEST, Clip) if modality in clip.modalities]
    for corpus in sorted({clip.corpus for clip in clips} - roots.keys()):
        raise CorpusError(f"{MANIFEST} holds clips of {corpus!r}, which corpora does not name; run: dvc repro manifest")
    states = {path: file_state(path) for clip in clips for path in _files(clip, roots)}
    _compare(clips, roots)
    return [
        ClipJob(
            clip.clip_id,
            clip.sha256,
            partial(Path, roots[clip.corpus], clip.path if modality == "visual" else clip.sound),
            partial(_unchanged, {path: states[path] for path in _files(clip, roots)}),
        )
        for clip in clips
    ]


def _files(clip: Clip, roots: Mapping[str, Path]) -> list[Path]:
    return [roots[clip.corpus] / path for path in clip.files]


def _compare(clips: Sequence[Clip], roots: Mapping[str, Path]) -> None:
    """Refuse media that have changed since the manifest was made: results would be kept under the old ones' name."""
    files = {path for clip in clips for path in _files(clip, roots)}
    # Of a clip whose media are gone, or may not be read, the memo may hold all that is asked for.
    found = media_checksums(
        sorted(path for path in files if path.is_file() and os.access(path, os.R_OK)), title="check media"
    )
    for clip in clips:
        own = _files(clip, roots)
        if found.keys() >= {*own} and clip_sha256([found[path] for path in own]) != clip.sha256:
            raise CorpusError(f"{clip.path} has changed since {MANIFEST} was made; run: dvc repro")


def _unchanged(before: Mapping[Path, str]) -> bool:
    return all(file_state(path) == then for path, then in before.items())
