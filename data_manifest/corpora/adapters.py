"""Corpora on disk: an adapter says which files are clips and how they are labelled.

An adapter is a function of a root folder and the corpus's options; it returns `Findings`. It looks at names and
tables only, never into the media.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from data_manifest.corpora import crema_d, emodb, enterface, folder, meld, ravdess, savee, table
from data_manifest.corpora.findings import Candidate, Findings
from pipeline.base.errors import CorpusError, ParameterError
from pipeline.base.params import Config
from pipeline.base.registry import check_name, lookup
from pipeline.base.selection import shorten

Adapter = Callable[[Path, Mapping[str, Any]], Findings]
"""A function of a corpus's root and its options that returns `Findings`."""


class CorpusConfig(Config):
    """An entry of the section `corpora`."""

    adapter: str
    """How the files are labelled."""
    root: str
    """The folder of the corpus. Paths in the manifest are relative to it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the adapter; see [below](#options-of-the-adapters)."""

    @field_validator("adapter")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_name(CORPORA, value, "corpus adapter")


CORPORA: dict[str, Adapter] = {
    "crema_d": crema_d.find,
    "csv": table.find,
    "emodb": emodb.find,
    "enterface": enterface.find,
    "folder": folder.find,
    "meld": meld.find,
    "ravdess": ravdess.find,
    "sample": table.find,
    "savee": savee.find,
}
"""Corpus adapters by name."""
PUBLISHED = CORPORA.keys() - {"csv", "folder", "sample"}


def speaker_namespace(corpus: str, adapter: str) -> str:
    """Return whose speakers an entry's are: of a published corpus there may be two entries, with the same people."""
    return adapter if adapter in PUBLISHED else corpus


def scan(name: str, config: CorpusConfig) -> Findings:
    """Return what the adapter finds below the corpus's root; raise where that is not the corpus."""
    if not re.fullmatch(r"[\w-]+", name):
        raise ParameterError(f"corpora.{name}: a corpus's name is made of letters, digits, _ and -")
    root = Path(config.root)
    if not os.path.isdir(root):  # noqa: PTH112 - a Path raises where it may not look
        raise CorpusError(f"corpora.{name}.root: no folder {config.root!r}; say where the corpus lies")
    try:
        findings: Findings = lookup(CORPORA, config.adapter, "corpus adapter")(root, config.options)
    except ParameterError as error:
        raise ParameterError(f"corpora.{name}.{error}") from error
    if not findings.candidates:
        raise CorpusError(f"corpora.{name}.root: {_instead(root, config.adapter, findings)}")
    _refuse_twins(name, findings.candidates)
    return findings


def _instead(root: Path, adapter: str, findings: Findings) -> str:
    """Return what was looked for, and what was found instead."""
    looked_for = f"; looked for {findings.expected_names}" if findings.expected_names else ""
    reasons = [f"{path} ({reason})" for path, reason in sorted(findings.left_out.items())]
    if reasons:
        found = f"found {len(reasons)} media files that are none: {shorten(reasons)}"
    else:
        names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
        found = f"found no media files; there are {shorten(names)}" if names else "the folder is empty"
    return f"'{root}' holds no clip that {adapter!r} knows{looked_for}; {found}"


def _refuse_twins(corpus: str, candidates: Sequence[Candidate]) -> None:
    seen: dict[str, str] = {}
    for candidate in candidates:
        clip_id = candidate.clip_id(corpus)
        if clip_id in seen:
            raise CorpusError(
                f"corpora.{corpus}: two files make one clip {clip_id!r}: {seen[clip_id]} and {candidate.path}"
            )
        seen[clip_id] = candidate.path
