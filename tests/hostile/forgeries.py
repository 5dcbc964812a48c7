"""Forged stores and heads: whole files that name other files, code or sizes, as an attacker would make them."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hostile.files import SCHEMAS, head_card, read_store, summarise, untrained_head, write_store
from hostile.isolation import run_isolated
from hostile.outcome import Attack
from pipeline.predict.predictor import Predictor
from pipeline.training.checkpoints import Card, save_head

SECRET = "/etc/passwd"
PLANTED = "planted:build"  # a module next to the head that says when it is imported
Forge = Callable[[h5py.File], object]


def attack_with_forgeries(*, folder: Path) -> list[Attack]:
    """Read forged stores and load forged heads: each is refused in one line, and no code of a head is run."""
    return [_attack_stores(folder / "stores"), _attack_heads(folder / "heads")]


def _attack_stores(folder: Path) -> Attack:
    start = time.monotonic()
    cases = [(kind, name) for kind in SCHEMAS for name in STORES]

    def check(number: int) -> str:
        kind, name = cases[number]
        path = write_store(folder / str(number) / kind)
        with h5py.File(path, "r+") as file:
            STORES[name](file)
        return read_store(path)

    results = [(" ".join(cases[it]), end) for it, end in run_isolated(check, range(len(cases)), lambda _: "")]
    return summarise("forged stores", results, start)


def _column(file: h5py.File) -> str:
    return "tokens" if "tokens" in file else "crops" if "crops" in file else "windows"


def _replace(file: h5py.File, make: Callable[[str, tuple[int, ...], np.dtype[Any]], object]) -> None:
    """Replace the main column; `make` gets its name, shape and type."""
    name = _column(file)
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    make(name, shape, dtype)


def _external_link(file: h5py.File) -> None:
    other = Path(file.filename).with_name("other.h5")
    shutil.copy(file.filename, other)
    _replace(file, lambda name, *_: file.__setitem__(name, h5py.ExternalLink(str(other), name)))


def _soft_link(file: h5py.File) -> None:
    name = _column(file)
    file.move(name, "moved")
    file[name] = h5py.SoftLink("/moved")


def _external_storage(file: h5py.File) -> None:
    def make(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        size = int(np.prod(shape)) * dtype.itemsize
        file.create_dataset(name, shape=shape, dtype=dtype, external=[(SECRET, 0, size)])

    _replace(file, make)


def _virtual(file: h5py.File) -> None:
    def make(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        layout = h5py.VirtualLayout(shape=shape, dtype=dtype)
        layout[:] = h5py.VirtualSource("other.h5", name, shape=shape)
        file.create_virtual_dataset(name, layout)

    _replace(file, make)


def _huge(file: h5py.File) -> None:
    def make(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        rows = (1 << 40, *shape[1:])
        file.create_dataset(name, shape=rows, maxshape=(None, *shape[1:]), dtype=dtype, chunks=(1, *shape[1:]))

    _replace(file, make)


def _compressed(file: h5py.File) -> None:
    _replace(
        file,
        lambda name, shape, dtype: file.create_dataset(name, data=np.zeros(shape, dtype), chunks=shape, compression=9),
    )


def _without_checksum(file: h5py.File) -> None:
    _replace(file, lambda name, shape, dtype: file.create_dataset(name, data=np.zeros(shape, dtype), chunks=shape))


def _as_text(file: h5py.File) -> None:
    _replace(
        file, lambda name, shape, _: file.create_dataset(name, data=["text"] * shape[0], dtype=h5py.string_dtype())
    )


def _as_reference(file: h5py.File) -> None:
    _replace(
        file,
        lambda name, shape, _: file.create_dataset(name, data=[file["times"].ref] * shape[0], dtype=h5py.ref_dtype),
    )


def _as_group(file: h5py.File) -> None:
    _replace(file, lambda name, *_: file.create_group(name))


def _set_offsets(file: h5py.File, values: list[int]) -> None:
    file["offsets"][:] = values


STORES: dict[str, Forge] = {
    "with a link to another file": _external_link,
    "with a soft link": _soft_link,
    "with a column in another file": _external_storage,
    "with a virtual column": _virtual,
    "with a column of terabytes": _huge,
    "with a compressed column": _compressed,
    "with a column without a checksum": _without_checksum,
    "with text for numbers": _as_text,
    "with references for numbers": _as_reference,
    "with a group for a column": _as_group,
    "with one column more": lambda file: file.create_dataset("extra", data=[1.0]),
    "with offsets that descend": partial(_set_offsets, values=[0, 3, 1, 6]),
    "with offsets beyond the end": partial(_set_offsets, values=[0, 1, 3, 1 << 40]),
    "with offsets below zero": partial(_set_offsets, values=[-5, 1, 3, 6]),
    "with a clip twice": lambda file: file["clip_id"].__setitem__(1, file["clip_id"][0]),
    "with bytes for a clip id": lambda file: file["clip_id"].__setitem__(1, b"\xff\x1b[31m"),
    "with one attribute more": lambda file: file.attrs.__setitem__("extra", "x" * 60000),
    "with other settings": lambda file: file.attrs.__setitem__("config", '{"size_px": 1}'),
    "with failures nested deeply": lambda file: file.attrs.__setitem__("failures", "[" * 30000),
    "of another schema": lambda file: file.attrs.__setitem__("schema", "fdan.\x1b[31m"),
    "without a schema": lambda file: file.attrs.__delitem__("schema"),
}
"""What is done to a good store; none of it may be read as if nothing had been done."""


def _attack_heads(folder: Path) -> Attack:
    start = time.monotonic()
    folder.mkdir(parents=True)
    marker = folder / "imported"
    (folder / "planted.py").write_text(f"open({str(marker)!r}, 'w')\nbuild = print\n")
    cases = list(HEADS)

    def check(number: int) -> str:
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        path = folder / f"{number}.safetensors"
        save_head(untrained_head(head_card("linear")), _forge(HEADS[cases[number]]), path)
        Predictor(path)
        return "loaded"

    results = []
    for number, end in run_isolated(check, range(len(cases)), lambda _: "loaded"):
        results.append((cases[number], "its code was imported" if marker.exists() else end))
        marker.unlink(missing_ok=True)
    return summarise("forged heads", [(f"a head {name}", end) for name, end in results], start)


def _forge(changes: Mapping[str, Any]) -> "ForgedCard":
    """Return the card of a good head with other values; a key such as `head.name` is a path in its JSON."""
    card = json.loads(head_card("linear").model_dump_json())
    for path, value in changes.items():
        *parents, name = path.split(".")
        reduce(getitem, parents, card)[name] = value
    values: dict[str, Any] = {"text": json.dumps(card)}
    return ForgedCard.model_construct(**values)


class ForgedCard(Card):
    """A card that no model has checked."""

    text: str

    def model_dump_json(self, **_: Any) -> str:
        """Return the text, for `save_head`."""
        return self.text


VISUAL, FACES_OF, ACOUSTIC = "embeddings.visual.config", "embeddings.visual.upstream.config", "embeddings.acoustic"
HEADS: dict[str, dict[str, Any]] = {
    "that names code": {"head.name": PLANTED},
    "that names a function of Python": {"head.name": "os:system"},
    "with an alignment that is code": {"alignment.name": PLANTED},
    "with a detector that is code": {f"{FACES_OF}.detector": PLANTED},
    "with a spectrogram that is code": {f"{ACOUSTIC}.upstream.config.kind": PLANTED},
    "with a backbone that is code": {f"{VISUAL}.backbone": PLANTED},
    "with weights elsewhere": {f"{VISUAL}.weights": SECRET},
    "with weights at an address": {f"{VISUAL}.weights": "http://127.0.0.1:9/"},
    "with boxes elsewhere": {f"{FACES_OF}.detector": "precomputed", f"{FACES_OF}.boxes": SECRET},
    "with landmarks elsewhere": {f"{FACES_OF}.align": "fan", f"{FACES_OF}.landmark_weights": SECRET},
    "with an unknown setting": {f"{VISUAL}.code": "1"},
    "of a huge width": {"head.width": 1 << 40},
    "of a negative width": {"head.width": -4},
    "of huge shapes": {"shapes": [1 << 40, 6, 3]},
    "of negative shapes": {"shapes": [-6, 6, 3]},
    "of no classes": {"classes": []},
    "of one class twice": {"classes": ["anger", "anger", "fear"]},
    "of more classes": {"classes": [f"class {number}" for number in range(10**5)]},
    "of classes with control characters": {"classes": ["\x1b[31m", "a\nb", "fear"]},
    "of no modality": {"embeddings": {}},
    "of text for embeddings": {"embeddings": {"visual": "x", "acoustic": 1}},
    "of a number for its settings": {"head": 7},
    "with an infinite temperature": {"temperatures.fused": float("inf")},
    "with a temperature of zero": {"temperatures.fused": 0},
    "of no member": {"members": 0},
    "of more members": {"members": 2},
    "of a million members": {"members": 10**6},
    "with infinite settings": {"train.learning_rate": float("inf")},
    "with a setting of many digits": {"train.learning_rate": 10**400},
}
"""What is changed in the card of a good head, whose checksum is then made anew."""
