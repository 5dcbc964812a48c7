"""Checks of environment, parameters, weights, corpora and protocols: what is wrong, and how to fix it."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, NamedTuple

import psutil

from data_manifest.corpora.adapters import CORPORA, CorpusConfig
from data_manifest.manifest.clips import MANIFEST, Clip, ManifestConfig, read_rows
from data_manifest.sample import SampleConfig
from data_manifest.splits.protocols import ProtocolConfig, make_splits
from pipeline.ablation.table import override
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.errors import ParameterError, PipelineError
from pipeline.base.files import cache_folder
from pipeline.base.params import Config, read_params, read_section
from pipeline.base.plugins import find_origin
from pipeline.base.provenance import RANDOM_WEIGHTS, library_versions
from pipeline.base.registry import Table, lookup
from pipeline.base.selection import count_noun
from pipeline.base.vision import import_torchvision
from pipeline.cli.sections import MODELS
from pipeline.cli.survey import Survey, survey_corpus
from pipeline.embeddings.backbones import BACKBONES
from pipeline.faces.detectors import DETECTORS
from pipeline.heads.table import HEADS
from pipeline.spectrograms.kinds import SPECTROGRAMS
from pipeline.training.runs import read_recipe
from pipeline.variants.rows import Rows, read_ablations
from pipeline.variants.settings import override_settings, read_settings
from pipeline.weights.published import RANDOM, section_weights

BUILDERS: tuple[tuple[str, str, Table, str], ...] = (  # section, key, the short names, what is built
    ("faces", "detector", DETECTORS, "detector"),
    ("spectrograms", "kind", SPECTROGRAMS, "spectrogram"),
    ("embed_faces", "backbone", BACKBONES, "backbone"),
    ("embed_mels", "backbone", BACKBONES, "backbone"),
    ("head", "name", HEADS, "head"),
    ("alignment", "name", ALIGNMENTS, "alignment"),
)
SMALL_DISK_GB = 10


@dataclass(frozen=True)
class Check:
    """The result of one check: one line of the output."""

    state: Literal["ok", "note", "fault"]  # with a fault, the pipeline cannot run
    subject: str
    message: str


class BuilderName(NamedTuple):
    """The name of a builder in `params.yaml`."""

    key: str
    name: str
    table: Table
    kind: str


def run_checks() -> Iterator[Check]:
    """Yield the results of all checks; the others go on if one raises a `PipelineError`."""
    surveys: dict[str, Survey] = {}
    parts: dict[str, Callable[[], Iterator[Check]]] = {
        "environment": _environment,
        "cache": _cache,
        "parameters": _parameters,
        "plugins": _plugins,
        "corpora": partial(_corpora, surveys),
        "weights": partial(_weights, surveys),
        "protocols": _protocols,
    }
    for name, part in parts.items():
        try:
            yield from part()
        except PipelineError as error:
            yield Check("fault", name, str(error))


def _environment() -> Iterator[Check]:
    import_torchvision()
    import torch
    import torchvision

    memory_gb = psutil.virtual_memory().total / 1e9
    yield Check(
        "ok", "machine", f"Python {platform.python_version()}, {os.cpu_count()} cores, {memory_gb:.0f} GB memory"
    )
    versions = library_versions("torch", "torchvision", "librosa", "opencv-python", "av", "h5py", "dvc")
    yield Check("ok", "libraries", ", ".join(f"{name} {version}" for name, version in versions.items()))
    try:  # incompatible versions fail only when an operator is called
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except RuntimeError as error:
        yield Check("fault", "torchvision", f"does not fit torch: {error}; install the pinned versions: make repro")
    if not shutil.which("git"):
        yield Check("fault", "git", "is not installed, and DVC needs it; install git")


def _cache() -> Iterator[Check]:
    folder = cache_folder()
    existing = next(it for it in (folder, *folder.absolute().parents) if os.path.exists(it))  # noqa: PTH110 - long names
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        yield Check("fault", "cache", f"{folder} is not writable; set FDAN_CACHE to another folder")
        return
    free_gb = shutil.disk_usage(existing).free / 1e9
    state: Literal["ok", "note"] = "ok" if free_gb > SMALL_DISK_GB else "note"
    yield Check(state, "cache", f"{folder}, {free_gb:.0f} GB free")


def _parameters() -> Iterator[Check]:
    """Check all sections now; a stage checks only its own, and only when it runs."""
    read_params()
    faults: list[str] = []
    for name, model in MODELS.items():
        faults += _fault(partial(read_section, name, model))
    if not faults:
        recipe, settings = read_recipe(), read_settings()
        for builder in _builder_names():
            faults += _fault(partial(lookup, builder.table, builder.name, builder.kind))
        faults += _fault(read_ablations)
        for row, overrides in read_section("ablations", Rows).items():
            faults += _fault(partial(override, recipe, overrides, row=row))
            faults += _fault(partial(override_settings, settings, overrides, row=row))
    for fault in faults:
        yield Check("fault", "params.yaml", fault.removeprefix("params.yaml: "))
    if not faults:
        yield Check("ok", "params.yaml", f"all {len(MODELS)} sections are valid")


def _plugins() -> Iterator[Check]:
    for key, name, table, _ in _builder_names():
        if name not in table and (origin := find_origin(name)):
            yield Check("ok", key, f"{name} is from {origin}")


def _builder_names() -> Iterator[BuilderName]:
    """Yield the names of builders in all valid sections."""
    for section, key, table, kind in BUILDERS:
        with suppress(ParameterError):
            yield BuilderName(f"{section}.{key}", getattr(read_section(section, MODELS[section]), key), table, kind)
    with suppress(ParameterError):
        for corpus, config in read_section("corpora", dict[str, CorpusConfig]).items():
            yield BuilderName(f"corpora.{corpus}.adapter", config.adapter, CORPORA, "corpus adapter")
    for row, sections in _changed_sections():
        for section, key, table, kind in BUILDERS:
            if section in sections:
                yield BuilderName(f"ablations.{row}.{section}.{key}", getattr(sections[section], key), table, kind)


def _changed_sections() -> Iterator[tuple[str, dict[str, Config]]]:
    """Yield valid rows of `ablations` with the sections that differ from those of params.yaml, as the rows have them.

    The sections of training and those of extraction come apart, so a fault in the ones does not hide the others.
    """
    with suppress(ParameterError):
        rows = read_ablations()
        yield from _differences(read_recipe, override, rows)
        yield from _differences(read_settings, override_settings, rows)


def _differences(
    read: Callable[[], Any], change: Callable[..., Any], rows: Rows
) -> Iterator[tuple[str, dict[str, Config]]]:
    with suppress(ParameterError):
        before = read()
        for row, overrides in rows.items():
            with suppress(ParameterError):
                after = change(before, overrides, row=row)
                names = [it.name for it in fields(after)]
                yield row, {it: getattr(after, it) for it in names if getattr(after, it) != getattr(before, it)}


def _fault(call: Callable[[], object]) -> list[str]:
    """Return the message of the call's `PipelineError`, or an empty list if it raises none."""
    try:
        call()
    except PipelineError as error:
        return [str(error)]
    return []


def _corpora(surveys: dict[str, Survey]) -> Iterator[Check]:
    """Survey each corpus, and add the result to `surveys`."""
    manifest = read_section("manifest", ManifestConfig)
    rendered = read_section("render", dict[str, SampleConfig])
    for name, config in read_section("corpora", dict[str, CorpusConfig]).items():
        subject = f"corpora.{name}"
        if name in rendered and not os.path.lexists(config.root):
            yield Check("note", subject, "will be rendered by the first dvc repro")
            continue
        try:
            survey = surveys[name] = survey_corpus(name, config, manifest)
        except PipelineError as error:
            yield Check("fault", subject, str(error).removeprefix(f"{subject}."))
            continue
        yield Check(
            "ok",
            subject,
            f"{count_noun(survey.clips, 'clip')} of {count_noun(len(survey.speakers), 'speaker')} in {config.root}",
        )
        for note in survey.notes:
            yield Check("note", subject, note)


def _weights(surveys: Mapping[str, Survey]) -> Iterator[Check]:
    """Check the weights of all sections that the corpora need; a corpus without a survey may have videos."""
    has_videos = any(name not in surveys or surveys[name].has_videos for name in read_params()["corpora"])
    sections = ("faces", "embed_faces", "embed_mels") if has_videos else ("embed_mels",)
    for section in sections:
        with suppress(ParameterError):  # `_parameters` has reported it
            config = read_section(section, MODELS[section])
            if section != "faces" and config.weights == RANDOM:
                yield Check("note", f"{section}.weights", RANDOM_WEIGHTS)
            yield from _section_weights(section, config)
    for row, changed in _changed_sections():
        for section in sections:
            if section in changed:
                yield from _section_weights(section, changed[section], row=row)


def _section_weights(section: str, config: Config, *, row: str = "") -> Iterator[Check]:
    """Check the weights of a section; what keeps the stage `manifest` from fetching them is a fault."""
    for weights in section_weights(section, config.model_dump(), row=row):
        try:
            missing = weights.check()
        except PipelineError as error:
            yield Check("fault", weights.key, str(error).removeprefix(f"{weights.key}: "))
            continue
        for file in missing:
            yield Check("note", weights.key, file.missing_message())
        for path in weights.paths if not missing else ():
            yield Check("ok", weights.key, f"{path} exists")


def _protocols() -> Iterator[Check]:
    if not MANIFEST.exists():
        yield Check("note", "protocols", f"can be checked once {MANIFEST} exists; run: dvc repro manifest")
        return
    clips = read_rows(MANIFEST, Clip)
    if {clip.corpus for clip in clips} != read_params()["corpora"].keys():
        yield Check("note", "protocols", f"{MANIFEST} lists other corpora than params.yaml; run: dvc repro manifest")
        return
    for name, config in read_section("protocols", dict[str, ProtocolConfig]).items():
        try:
            splits = make_splits(clips, name, config)
        except PipelineError as error:
            yield Check("fault", f"protocols.{name}", str(error).removeprefix(f"protocols.{name}: "))
            continue
        has_shared_speakers = any(split.speakers_shared for split in splits)
        shared = "speakers shared" if has_shared_speakers else "no speaker in two parts"
        yield Check("ok", f"protocols.{name}", f"{count_noun(len(splits), 'fold')}, {shared}")
