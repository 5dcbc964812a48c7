"""What is there, what is missing, and what to do about it: environment, parameters, weights, corpora, protocols."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psutil

from data_manifest.corpora.adapters import CorpusConfig
from data_manifest.manifest.clips import MANIFEST, Clip, ManifestConfig, read_rows
from data_manifest.sample import SampleConfig
from data_manifest.splits.protocols import ProtocolConfig, make_splits
from pipeline.ablation.table import override
from pipeline.alignments.contract import AlignmentConfig
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.errors import PipelineError
from pipeline.base.files import cache_folder
from pipeline.base.params import read_params, read_section
from pipeline.base.provenance import library_versions
from pipeline.base.registry import Table, lookup
from pipeline.cli.configure import survey
from pipeline.embeddings.backbones import BackboneConfig, published_weights
from pipeline.faces import landmarks, networks
from pipeline.faces.crops import FacesConfig
from pipeline.faces.detectors import DETECTORS
from pipeline.heads.contract import HeadConfig
from pipeline.heads.table import HEADS
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig
from pipeline.training.recipe import TrainConfig
from pipeline.training.runs import read_recipe
from pipeline.weights.files import WeightFile

MODELS: dict[str, Any] = {
    "render": dict[str, SampleConfig],
    "corpora": dict[str, CorpusConfig],
    "manifest": ManifestConfig,
    "faces": FacesConfig,
    "spectrograms": SpectrogramsConfig,
    "embed_faces": BackboneConfig,
    "embed_mels": BackboneConfig,
    "head": HeadConfig,
    "alignment": AlignmentConfig,
    "train": TrainConfig,
    "protocols": dict[str, ProtocolConfig],
    "ablations": dict[str, dict[str, dict[str, Any]]],
    "run": ExecutionConfig,
}
NAMED: tuple[tuple[Table, tuple[str, str], str], ...] = (  # a function behind each of these names must be there
    (DETECTORS, ("faces", "detector"), "detector"),
    (SPECTROGRAMS, ("spectrograms", "kind"), "spectrogram"),
    (HEADS, ("head", "name"), "head"),
    (ALIGNMENTS, ("alignment", "name"), "alignment"),
)
SMALL_DISK_GB = 10


@dataclass(frozen=True)
class Check:
    """One line of the answer."""

    state: Literal["ok", "note", "fault"]  # a fault keeps the pipeline from running
    subject: str
    finding: str


def run_checks() -> Iterator[Check]:
    """Yield what was checked, one thing after the other; a fault in one keeps no other from being checked."""
    for part in (_environment, _cache, _parameters, _detector, _backbone, _corpora, _protocols):
        try:
            yield from part()
        except PipelineError as error:
            yield Check("fault", part.__name__.strip("_"), str(error))


def _environment() -> Iterator[Check]:
    import torch
    import torchvision

    memory_gb = psutil.virtual_memory().total / 1e9
    yield Check(
        "ok", "machine", f"Python {platform.python_version()}, {os.cpu_count()} cores, {memory_gb:.0f} GB memory"
    )
    versions = library_versions("torch", "torchvision", "librosa", "opencv-python", "av", "h5py", "dvc")
    yield Check("ok", "libraries", ", ".join(f"{name} {version}" for name, version in versions.items()))
    try:  # a pair that does not fit fails only when an operator is called
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except RuntimeError as error:
        yield Check("fault", "torchvision", f"does not fit torch: {error}; install the pinned pair: make repro")
    if not shutil.which("git"):
        yield Check("fault", "git", "is not there, and DVC needs it; install git")


def _cache() -> Iterator[Check]:
    folder = cache_folder()
    there = next(it for it in (folder, *folder.absolute().parents) if it.exists())
    if not os.access(there, os.W_OK):
        yield Check("fault", "cache", f"{folder} cannot be written to; name another folder in FDAN_CACHE")
        return
    free_gb = shutil.disk_usage(there).free / 1e9
    state: Literal["ok", "note"] = "ok" if free_gb > SMALL_DISK_GB else "note"
    yield Check(state, "cache", f"{folder}, {free_gb:.0f} GB free")


def _parameters() -> Iterator[Check]:
    """Check every section at once: a stage checks its own only when it runs."""
    params = read_params()
    faults: list[str] = []
    for name, model in MODELS.items():
        faults += _fault(partial(read_section, name, model))
    if not faults:
        recipe = read_recipe()
        for table, (section, key), kind in NAMED:
            faults += _fault(partial(lookup, table, params[section][key], kind))
        for row, overrides in read_section("ablations", dict[str, dict[str, dict[str, Any]]]).items():
            faults += _fault(partial(override, recipe, overrides, row=row))
    for fault in faults:
        yield Check("fault", "params.yaml", fault.removeprefix("params.yaml: "))
    if not faults:
        yield Check("ok", "params.yaml", f"all {len(MODELS)} sections are valid")


def _fault(call: Callable[[], object]) -> list[str]:
    """Return what the call complains of, or nothing."""
    try:
        call()
    except PipelineError as error:
        return [str(error)]
    return []


def _detector() -> Iterator[Check]:
    faces = read_section("faces", FacesConfig)
    yield from _weights("faces.weights", faces.weights, networks.WEIGHT_FILES.get(faces.detector, ()))
    if faces.align == "fan":
        yield from _weights("faces.landmark_weights", faces.landmark_weights, landmarks.WEIGHT_FILES["fan"])


def _weights(subject: str, given: str, published: Sequence[WeightFile]) -> Iterator[Check]:
    """Check the file that is given, or those that are fetched where none is."""
    if given:
        there = Path(given).is_file()
        yield Check("ok" if there else "fault", subject, f"{given} is {'' if there else 'not '}there")
        return
    for file in published:
        missing = file.missing()
        yield Check("note" if missing else "ok", subject, missing or f"{file.place} is there")


def _backbone() -> Iterator[Check]:
    for section in ("embed_faces", "embed_mels"):
        config = read_section(section, BackboneConfig)
        subject = f"{section}.weights"
        if config.weights == "random":
            yield Check("note", subject, "random: the pipeline works, and its figures say nothing about emotion")
            continue
        published = published_weights().get(config.backbone)
        given = "" if config.weights == "imagenet" else config.weights
        yield from _weights(subject, given, (published,) if published else ())


def _corpora() -> Iterator[Check]:
    manifest = read_section("manifest", ManifestConfig)
    rendered = read_section("render", dict[str, SampleConfig])
    for name, config in read_section("corpora", dict[str, CorpusConfig]).items():
        subject = f"corpora.{name}"
        if name in rendered and not Path(config.root).exists():
            yield Check("note", subject, "is drawn at the first dvc repro")
            continue
        try:
            found = survey(name, config, manifest)
        except PipelineError as error:
            yield Check("fault", subject, str(error).removeprefix(f"{subject}."))
            continue
        yield Check("ok", subject, f"{found.clips} clips of {len(found.speakers)} speakers in {config.root}")
        for oddity in found.oddities:
            yield Check("note", subject, oddity)


def _protocols() -> Iterator[Check]:
    if not MANIFEST.exists():
        yield Check("note", "protocols", f"are checked once {MANIFEST} is there; run: dvc repro manifest")
        return
    clips = read_rows(MANIFEST, Clip)
    if {clip.corpus for clip in clips} != read_params()["corpora"].keys():
        yield Check("note", "protocols", f"{MANIFEST} is of other corpora; run: dvc repro manifest")
        return
    for name, config in read_section("protocols", dict[str, ProtocolConfig]).items():
        try:
            splits = make_splits(clips, name, config)
        except PipelineError as error:
            yield Check("fault", f"protocols.{name}", str(error).removeprefix(f"protocols.{name}: "))
            continue
        shared = "speakers shared" if any(split.speakers_shared for split in splits) else "no speaker in two parts"
        yield Check("ok", f"protocols.{name}", f"{len(splits)} folds, {shared}")
