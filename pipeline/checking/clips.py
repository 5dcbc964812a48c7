"""A few clips to check a part on: those of the manifest, or of the sample corpus, rendered for the check."""

from pathlib import Path
from typing import Literal, NamedTuple

from data_manifest.manifest.clips import MANIFEST
from data_manifest.manifest.jobs import clip_jobs
from data_manifest.sample import SampleConfig, plan, render
from pipeline.base.selection import count_noun, evenly_spaced
from pipeline.base.tables import write_table
from pipeline.media.files import ClipFiles

CLIPS = 3


class FewClips(NamedTuple):
    """Some clips with one modality, and where they are from, in words."""

    origin: str
    files: dict[str, ClipFiles]  # by clip id


def few_clips(modality: Literal["visual", "acoustic"], folder: Path) -> FewClips:
    """Return clips of the manifest that have the modality; if there is no manifest, render some into `folder`."""
    if MANIFEST.is_file() and (jobs := clip_jobs(modality, at_most=CLIPS)):
        loaded = {job.clip_id: job.load() for job in jobs}
        files = {name: it if isinstance(it, ClipFiles) else ClipFiles(it, it) for name, it in loaded.items()}
        return FewClips(f"{count_noun(len(files), 'clip')} of {MANIFEST}", files)
    return FewClips(f"{CLIPS} clips of the sample corpus, rendered for this check", _rendered(folder))


def _rendered(folder: Path) -> dict[str, ClipFiles]:
    paths = render_sample(folder)
    return {f"sample/{path}": ClipFiles(folder / path, folder / path) for path in paths}


def render_sample(folder: Path) -> list[str]:
    """Render clips of the sample corpus with a face and a voice, and their table; return their paths in the folder."""
    usable = [it for it in plan(SampleConfig(speakers=3, utterances=1)) if it.has_face and it.has_audio]
    chosen = evenly_spaced(usable, CLIPS)
    for utterance in chosen:
        render(utterance, folder)
    rows = ([it.path, it.emotion, it.speaker, it.sentence] for it in chosen)
    write_table(folder / "clips.csv", ["path", "emotion", "speaker", "sentence"], rows)
    return [it.path for it in chosen]
