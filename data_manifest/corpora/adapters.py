"""The table of corpus adapters. An adapter decides which files are clips and labels them.

It is a function of a root folder and the corpus's options that returns `Findings`. It reads file names and tables,
but never opens media.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from data_manifest.corpora import crema_d, csv_table, emodb, enterface, folder, meld, ravdess, savee
from data_manifest.corpora.checks import check_findings
from data_manifest.corpora.contract import Candidate, Findings, follow_links, unusable_paths
from data_manifest.manifest.speakers import similar_names
from pipeline.base.builders import build
from pipeline.base.errors import CorpusError, ParameterError
from pipeline.base.options import options_model
from pipeline.base.params import Config, check_nested
from pipeline.base.registry import check_name, lookup, suggest
from pipeline.base.selection import shorten
from pipeline.base.text import one_line

Adapter = Callable[[Path, Any], Findings]
"""A function of a corpus's root and its options that returns `Findings`.

The options are a mapping, or an instance of the model that the adapter names with `takes_options`.
"""


class CorpusConfig(Config):
    """An entry of the section `corpora`."""

    adapter: str
    """How the files are labelled."""
    root: str
    """The folder of the corpus. Paths in the manifest are relative to it."""
    follow_links: bool = False
    """Also use files outside the root that links below it lead to; see [Links](corpus.md#links)."""
    speakers: dict[str, str] = Field(default_factory=dict)
    """Speakers to rename, such as `ANNA: anna`, if several names stand for one person."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the adapter; see [below](#options-of-the-adapters)."""

    @field_validator("adapter")
    @classmethod
    def _check_adapter(cls, value: str) -> str:
        return check_name(CORPORA, value, "corpus adapter")


CORPORA: dict[str, Adapter] = {
    "crema_d": crema_d.find,
    "csv": csv_table.find,
    "emodb": emodb.find,
    "enterface": enterface.find,
    "folder": folder.find,
    "meld": meld.find,
    "ravdess": ravdess.find,
    "sample": csv_table.find,
    "savee": savee.find,
}
"""Corpus adapters by name."""
PUBLISHED = CORPORA.keys() - {"csv", "folder", "sample"}


def speaker_namespace(corpus: str, adapter: str) -> str:
    """Return the prefix of an entry's speaker ids; two entries of one published corpus share their speakers."""
    return adapter if adapter in PUBLISHED else corpus


def scan(name: str, config: CorpusConfig) -> Findings:
    """Return the adapter's findings; raise if the root is missing or contains no clip of the corpus.

    Raise ContractError if a user's adapter breaks its contract. Those of the table list what a user's table says, and a
    row that names a file elsewhere is that row's fault.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ParameterError(f"corpora.{name}: use only letters, digits, _ and - in a corpus's name")
    root = Path(config.root)
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir raises without permission
        raise CorpusError(f"corpora.{name}.root: no folder {config.root!r}; set it to the folder of the corpus")
    try:
        with follow_links(allowed=config.follow_links):
            options = _read_options(config)
            findings: Findings = build(CORPORA, config.adapter, "corpus adapter", root, options, expected=Findings)
            findings.left_out |= unusable_paths(root)
    except ParameterError as error:
        raise ParameterError(f"corpora.{name}.{error}") from error
    if not findings.candidates:
        raise CorpusError(f"corpora.{name}.root: {_describe_contents(root, config.adapter, findings)}")
    if config.adapter not in CORPORA:
        check_findings(findings, root, name=config.adapter)
    _merge_speakers(name, config.speakers, findings)
    _refuse_duplicate_ids(name, findings.candidates)
    return findings


def _read_options(config: CorpusConfig) -> Mapping[str, Any] | Config:
    model = options_model(lookup(CORPORA, config.adapter, "corpus adapter"))
    return config.options if model is None else check_nested(config.options, model, where="options")


def _merge_speakers(corpus: str, renamed: Mapping[str, str], findings: Findings) -> None:
    """Rename speakers, and note names that may stand for one person: it could be in two parts of a split."""
    speakers = {it.speaker for it in findings.candidates}
    for speaker in sorted(renamed.keys() - speakers):
        raise CorpusError(f"corpora.{corpus}.speakers: no clip is of {speaker!r}; {suggest(speaker, speakers)}")
    findings.candidates = [
        replace(it, speaker=renamed[it.speaker]) if it.speaker in renamed else it for it in findings.candidates
    ]
    for first, *others in similar_names(it.speaker for it in findings.candidates):
        merge = ", ".join(f"{it}: {first}" for it in others)
        findings.notes.append(
            f"{corpus}: the speakers {shorten([first, *others])} may be one person; if they are: "
            f"corpora.{corpus}.speakers: {{{one_line(merge)}}}"
        )


def _describe_contents(root: Path, adapter: str, findings: Findings) -> str:
    """Return the expected file names and what the root contains instead."""
    expected = f"; looked for {findings.expected_names}" if findings.expected_names else ""
    reasons = [f"{path} ({reason})" for path, reason in sorted(findings.left_out.items())]
    if reasons:
        contents = f"left out {len(reasons)} media files: {shorten(reasons)}"
    else:
        names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
        contents = f"found no media files, only {shorten(names)}" if names else "the folder is empty"
    return f"'{root}' contains no clip of {adapter!r}{expected}; {contents}"


def _refuse_duplicate_ids(corpus: str, candidates: Sequence[Candidate]) -> None:
    paths: dict[str, str] = {}
    for candidate in candidates:
        clip_id = candidate.clip_id(corpus)
        if clip_id in paths:
            raise CorpusError(
                f"corpora.{corpus}: two clips have the id {clip_id!r}: {paths[clip_id]} and {candidate.path}; "
                "rename one file"
            )
        paths[clip_id] = candidate.path
