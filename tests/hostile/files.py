"""Damaged stores and heads: opened and read whole, each is refused in one line, or gives the same numbers."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hostile.isolation import REFUSED, SAME, run_isolated
from hostile.mutations import mutant
from hostile.outcome import Attack
from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.params import Config
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.faces.crops import FacesConfig
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.table import HEADS
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.store.clips import ClipFaces, ClipTokens, ClipWindows
from pipeline.store.columns import ClipData, Ragged, to_columns
from pipeline.store.features import FeatureStore
from pipeline.store.reader import Reader, describe
from pipeline.store.schemas import EMBEDDINGS, FACES, WINDOWS, Schema
from pipeline.store.writer import open_writer
from pipeline.training.checkpoints import Card, TrainedPart, load_head, save_head
from pipeline.training.recipe import TrainConfig

SCHEMAS: dict[str, Schema[Any]] = {"faces.h5": FACES, "spectrograms.h5": WINDOWS, "visual.h5": EMBEDDINGS}
HEAD_NAMES = ("fdan", "linear")
CLIPS = 3

Read = Callable[[Path], str]
"""Reads a file whole and returns the digest of its values."""


def attack_stores(count: int, *, seed: int, folder: Path) -> Attack:
    """Read mutants of the three kinds of stores."""
    files = {write_store(folder / name): read_store for name in SCHEMAS}
    return _attack_with_mutants("mutated stores", count, files, seed=seed, folder=folder)


def attack_heads(count: int, *, seed: int, folder: Path) -> Attack:
    """Load mutants of saved heads."""
    files = {write_head(folder / f"{name}.safetensors", name): read_head for name in HEAD_NAMES}
    return _attack_with_mutants("mutated heads", count, files, seed=seed, folder=folder)


def _attack_with_mutants(name: str, count: int, files: Mapping[Path, Read], *, seed: int, folder: Path) -> Attack:
    start = time.monotonic()
    paths, reads = list(files), list(files.values())
    contents = [path.read_bytes() for path in paths]
    digests = [read(path) for path, read in files.items()]

    def check(number: int) -> str:
        kind = number % len(paths)
        path = folder / "mutants" / paths[kind].name  # the name decides what an error says
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)  # HDF5 takes a file that is written in place for one that it has open
        path.write_bytes(mutant(contents, kind, f"{seed}/{number}"))
        return reads[kind](path)

    results = list(run_isolated(check, range(count), lambda number: digests[number % len(paths)]))
    return summarise(
        name, [(f"mutant {it} of seed {seed} ({paths[it % len(paths)].name})", end) for it, end in results], start
    )


def summarise(name: str, results: Sequence[tuple[str, str]], start: float) -> Attack:
    """Return the attack with what was tried and its ends; all but refusals and same values are faults."""
    outcomes = Counter(end for _, end in results if end in (REFUSED, SAME))
    faults = tuple(f"{tried}: {end}" for tried, end in results if end not in (REFUSED, SAME))
    return Attack(name=name, tried=len(results), outcomes=outcomes, faults=faults, seconds=time.monotonic() - start)


def write_store(path: Path) -> Path:
    """Write a small store of the kind that the name says."""
    schema = SCHEMAS[path.name]
    rng = np.random.default_rng(0)
    clips = {f"corpus/speaker/clip{number}": _clip(schema, number + 1, rng) for number in range(CLIPS)}
    attributes = {
        "schema": schema.name,
        "modality": "visual",
        "config": {"size_px": 224},
        "fingerprint": "0123456789ab",
        "failures": {"corpus/speaker/other": "cannot be decoded"},
        "excluded": {},
        "absent": {},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    like = to_columns(_clip(schema, 1, rng))
    with open_writer(path, like=like, attributes=attributes) as writer:
        for clip_id, clip in clips.items():
            writer.append(clip_id, to_columns(clip), media_sha256=hashlib.sha256(clip_id.encode()).hexdigest())
    return path


def _clip(schema: Schema[Any], rows: int, rng: np.random.Generator) -> ClipData:
    times = np.arange(rows, dtype=np.float32)
    if schema is FACES:
        crops = Ragged.join([rng.integers(0, 256, 50 + row, np.uint8) for row in range(rows)])
        boxes, counts = rng.random((rows, 5), np.float32), np.ones(rows, np.int32)
        zeros = np.zeros(rows, np.float32)
        return ClipFaces(times, boxes, counts, np.zeros(rows, np.uint8), zeros, zeros, crops)
    if schema is WINDOWS:
        windows = Ragged.join([rng.random((10 + row, 8), np.float32) for row in range(rows)])
        return ClipWindows(times, np.ones(rows, np.float32), windows)
    return ClipTokens(times, rng.normal(size=(rows, 16)).astype(np.float32), ())


def read_store(path: Path) -> str:
    """Return the digest of all clips and attributes; the file is read in every way that the pipeline has."""
    reader = Reader[Any](path, schema=SCHEMAS[path.name])
    total = hashlib.sha256(json.dumps([reader.attributes, reader.media_sha256, reader.version], default=str).encode())
    for clip_id in reader:
        for name, values in sorted(to_columns(reader[clip_id]).items()):
            total.update(f"{clip_id} {name} {values.shape} {values.dtype}".encode() + values.tobytes())
    if SCHEMAS[path.name] is EMBEDDINGS:
        for tensor in FeatureStore(path).load(list(reader))[:3]:
            total.update(tensor.numpy().tobytes())
    describe(path)
    return total.hexdigest()


def write_head(path: Path, name: str = "fdan") -> Path:
    """Write an untrained head."""
    card = head_card(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_head(untrained_head(card), card, path)
    return path


def head_card(name: str) -> Card:
    """Return the card of a head that was trained on embeddings with the default settings."""
    settings: dict[str, tuple[Config, Config]] = {
        "visual": (BackboneConfig(), FacesConfig()),
        "acoustic": (BackboneConfig(), SpectrogramsConfig()),
    }
    embeddings = {
        modality: {
            "config": backbone.model_dump(),
            "upstream": {"config": upstream.model_dump(), "fingerprint": "u", "version": "v"},
            "weights": {"name": "random", "sha256": "0" * 64},
            "fingerprint": modality,
            "failures": {},
            "version": "v",
        }
        for modality, (backbone, upstream) in settings.items()
    }
    return Card(
        head=HeadConfig(name=name, width=8),
        alignment=AlignmentConfig(),
        train=TrainConfig(),
        classes=("anger", "fear", "neutral"),
        shapes=Shapes(6, 6, 3),
        embeddings=embeddings,
        libraries={"torch": "2"},
        trained=TrainedPart(seed=0, clips=7, visual=7, acoustic=7, media=""),
        temperatures={"fused": 1.5},
    )


def untrained_head(card: Card) -> Head:
    """Return the head of a card, with the same numbers at every call."""
    torch.manual_seed(0)
    return HEADS[card.head.name](card.head, card.shapes)


def read_head(path: Path) -> str:
    """Return the digest of the card and of all tensors."""
    head, card = load_head(path)
    total = hashlib.sha256(card.model_dump_json().encode())
    for name, value in sorted(head.state_dict().items()):
        total.update(name.encode() + value.numpy().tobytes())
    return total.hexdigest()
