"""The clips of the manifest as work for a step that opens their media."""

from functools import partial
from pathlib import Path
from typing import Literal

from data_manifest.manifest import MANIFEST, Clip, read_rows
from data_manifest.roots import corpus_roots
from pipeline.errors import CorpusError
from pipeline.extraction import ClipJob


def clip_jobs(modality: Literal["visual", "acoustic"]) -> list[ClipJob]:
    """Return a job, the path of the picture or of the sound, for every clip that has the modality."""
    roots = {name: root.absolute() for name, root in corpus_roots().items()}  # workers may run in another folder
    clips = [clip for clip in read_rows(MANIFEST, Clip) if modality in clip.modalities]
    for corpus in sorted({clip.corpus for clip in clips} - roots.keys()):
        raise CorpusError(f"{MANIFEST} holds clips of {corpus!r}, which corpora does not name; run: dvc repro manifest")
    return [
        ClipJob(
            clip.clip_id,
            clip.sha256,
            partial(Path, roots[clip.corpus], clip.path if modality == "visual" else clip.sound),
        )
        for clip in clips
    ]
