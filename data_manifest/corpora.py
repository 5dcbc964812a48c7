"""Corpora on disk: an adapter says which files are clips and how they are labelled; here they are probed.

An adapter is a function of a root folder and the corpus's options; it returns `Findings`. It looks at names and
tables only, never into the media.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from data_manifest.findings import Candidate, Findings
from data_manifest.manifest import Clip, Exclusion
from pipeline.errors import ClipError, CorpusError
from pipeline.extraction import ClipJob, Step, Tally, extract
from pipeline.files import file_digest
from pipeline.media import probe
from pipeline.memo import Arrays
from pipeline.parallel import RunConfig
from pipeline.params import Config
from pipeline.registry import check_name, lookup

Adapter = Callable[[Path, Mapping[str, Any]], Findings]
STAGE = "corpus"


class CorpusConfig(Config):
    """An entry of the section `corpora`."""

    adapter: str
    root: str
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("adapter")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_name(CORPORA, value, "corpus adapter")


def _table(root: Path, options: Mapping[str, Any]) -> Findings:
    from data_manifest.table import find

    return find(root, options)


def _folder(root: Path, options: Mapping[str, Any]) -> Findings:
    from data_manifest.folder import find

    return find(root, options)


CORPORA: dict[str, Adapter] = {"csv": _table, "folder": _folder, "sample": _table}


def find_clips(name: str, config: CorpusConfig, run: RunConfig) -> tuple[list[Clip], list[Exclusion], Tally]:
    """Return the corpus's clips, decoded once from end to end, and the files that are none, with the reason."""
    root = Path(config.root)
    if not root.is_dir():
        raise CorpusError(f"corpora.{name}.root: no folder {config.root!r}; say where the corpus lies")
    findings: Findings = lookup(CORPORA, config.adapter, "corpus adapter")(root, config.options)
    if not findings.candidates:
        first = "".join(f"; the first: {path} {reason}" for path, reason in [*findings.leftovers.items()][:1])
        raise CorpusError(f"corpora.{name}.root: {config.root!r} holds no clip that {config.adapter!r} knows{first}")
    candidates = {candidate.clip_id(name): candidate for candidate in findings.candidates}
    if len(candidates) < len(findings.candidates):
        raise CorpusError(f"corpora.{name}: {_twins(name, findings.candidates)}")
    absent = {clip_id: reason for clip_id, it in candidates.items() if (reason := _absence(it.files(root)))}
    there = {clip_id: it for clip_id, it in candidates.items() if clip_id not in absent}
    contents = {clip_id: file_digest(*it.files(root)) for clip_id, it in there.items()}
    step = Step(name="probe", compute=probe_files, code=probe_files, params={}, libraries=("av",))
    jobs = [ClipJob(clip_id, contents[clip_id], partial(it.files, root)) for clip_id, it in there.items()]
    tally = Tally(f"probe {name}", len(jobs))
    clips = [
        _clip(name, clip_id, candidates[clip_id], contents[clip_id], result)
        for clip_id, result in extract(jobs, step, tally, run=run)
    ]
    exclusions = [Exclusion("", path, STAGE, reason) for path, reason in findings.leftovers.items()]
    exclusions += [
        Exclusion(clip_id, candidates[clip_id].path, STAGE, reason)
        for clip_id, reason in (absent | tally.failures).items()
    ]
    return clips, exclusions, tally


def probe_files(paths: list[Path]) -> Arrays:
    """Return what lies in a clip's one or two files: `visual` and `acoustic` (0 or 1), `duration_s`."""
    found = [probe(path) for path in paths]
    if not found[0].has_video and not found[-1].has_audio:
        raise ClipError("there is no picture in its first file and no sound in its second")
    return {
        "visual": np.asarray([found[0].has_video]),
        "acoustic": np.asarray([found[-1].has_audio]),
        "duration_s": np.asarray([max(info.duration_s for info in found)]),
    }


def _clip(corpus: str, clip_id: str, candidate: Candidate, content: str, probed: Arrays) -> Clip:
    return Clip(
        clip_id=clip_id,
        corpus=corpus,
        path=candidate.path,
        audio_path=candidate.audio_path,
        speaker=f"{corpus}/{candidate.speaker}",
        emotion=candidate.emotion,
        split=candidate.split,
        sentence=candidate.sentence,
        modalities="+".join(name for name in ("visual", "acoustic") if probed[name][0]),
        duration_s=float(probed["duration_s"][0]),
        sha256=content,
    )


def _absence(files: list[Path]) -> str:
    gone = [file for file in files if not file.is_file()]
    return f"{gone[0].name} is {'a link to nothing' if gone[0].is_symlink() else 'not there'}" if gone else ""


def _twins(corpus: str, candidates: list[Candidate]) -> str:
    seen: dict[str, str] = {}
    for candidate in candidates:
        clip_id = candidate.clip_id(corpus)
        if clip_id in seen:
            return f"two files make one clip {clip_id!r}: {seen[clip_id]} and {candidate.path}"
        seen[clip_id] = candidate.path
    return ""
