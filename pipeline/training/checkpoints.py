"""Trained heads on disk: one safetensors file each, with a JSON card of all that is needed to use it.

A head may come from a stranger: nothing in the file is executed, the card names built-in parts only, and no memory is
allocated that the file does not hold. A checksum covers the card and all tensors.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationInfo, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ParameterError, StoreError
from pipeline.base.files import atomic_write
from pipeline.base.options import with_options_model
from pipeline.base.params import Config, Seed, check
from pipeline.base.registry import allow_only, lookup
from pipeline.base.text import one_line
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.ensemble import Ensemble, as_one_head
from pipeline.heads.table import HEADS
from pipeline.store.attributes import Upstream, Weights
from pipeline.training.recipe import MAX_MEMBERS, Recipe, TrainConfig
from pipeline.training.temperature import Temperatures

WIDEST = 1 << 20  # numbers in a token, and classes
MEDIA_DIGITS = 12  # of a sha256; among a million clips, one in 280 million others has the same
LONGEST_CLASS = 100  # characters of a name


class TrainedOn(Config):
    """What made the embeddings of one modality that a head was trained on."""

    config: dict[str, Any]
    weights: Weights
    upstream: Upstream
    fingerprint: str
    failures: dict[str, str]  # clip id to reason, also of clips that lack the modality
    version: str


class TrainedPart(Config):
    """The clips that a head was trained on."""

    protocol: str | None = None  # null: all clips of the corpus
    fold: int | None = None
    seed: Seed
    clips: int = Field(ge=1)
    visual: int = Field(ge=0)  # how many of them have tokens of this modality
    acoustic: int = Field(ge=0)
    media: str  # the first digits of the clips' sha256, sorted and joined

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the head was trained on."""
        return tuple(name for name in ("visual", "acoustic") if getattr(self, name))

    @property
    def media_digits(self) -> frozenset[str]:
        """The first digits of the sha256 of every clip."""
        starts = range(0, len(self.media), MEDIA_DIGITS)
        return frozenset(self.media[start : start + MEDIA_DIGITS] for start in starts)


class Card(Config):
    """What a head is, and the data and the recipe of its training."""

    head: HeadConfig
    alignment: AlignmentConfig
    train: TrainConfig
    classes: tuple[str, ...]  # in the order of the logits
    shapes: Shapes
    embeddings: dict[str, TrainedOn]  # by modality
    libraries: dict[str, str]
    trained: TrainedPart
    members: int = Field(1, ge=1, le=MAX_MEMBERS)
    temperatures: Temperatures  # by answer, fitted on validation clips

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({*value}) < len(value) or not all(0 < len(it) <= LONGEST_CLASS for it in value):
            raise ValueError(f"the classes are not different names of 1 to {LONGEST_CLASS} characters")
        return value

    @field_validator("shapes")
    @classmethod
    def _check_shapes(cls, value: Shapes, info: ValidationInfo) -> Shapes:
        classes = len(info.data.get("classes", ()))
        if not all(1 <= it <= WIDEST for it in value) or value.classes != classes:
            raise ValueError(f"the shapes are not between 1 and {WIDEST}, or not those of {classes} classes")
        return value

    @field_validator("embeddings")
    @classmethod
    def _check_embeddings(cls, value: dict[str, TrainedOn]) -> dict[str, TrainedOn]:
        if {*value} != {"visual", "acoustic"}:
            raise ValueError("these are not the modalities `visual` and `acoustic`")
        return value

    @property
    def recipe(self) -> Recipe:
        """The recipe of its training."""
        return Recipe(self.head, self.alignment, self.train)

    def require_match(self, classes: Sequence[str], embeddings: Mapping[str, Any], path: Path) -> None:
        """Raise if the head has other classes, or was trained on embeddings that were made differently."""
        if self.classes != tuple(classes):
            trained, expected = (", ".join(names) for names in (self.classes, classes))
            raise StoreError(f"{path} classifies {trained}, but the corpus has {expected}; run: dvc repro")
        for modality, origin in self.embeddings.items():
            trained_on, other = origin.model_dump(), embeddings[modality]
            if trained_on["fingerprint"] != other["fingerprint"]:
                changed = _differences(_settings(trained_on), _settings(other)) or ["code, libraries or weights differ"]
                raise StoreError(
                    f"{path} was trained on other {modality} embeddings than those in data/embeddings/{modality}.h5 "
                    f"({'; '.join(changed)}); run: dvc repro"
                )


def save_head(head: Head, card: Card, path: Path) -> None:
    """Write the head's state and its card."""
    card = card.model_copy(update={"members": len(head.members) if isinstance(head, Ensemble) else 1})
    state = {name: value.detach().contiguous() for name, value in _unique_state(head).items()}
    text = card.model_dump_json()
    with atomic_write(path) as temporary:
        temporary.write_bytes(_sort_header(save(state, {"card": text, "sha256": _checksum(text, state)})))


def load_head(path: Path, *, allow: Collection[str] = ()) -> tuple[Head, Card]:
    """Return a saved head and its card; no code in the file is executed.

    The card names built-in parts, or those of the plugins that `allow` lists, as `package.module:function`. Raise
    StoreError if the file is damaged, ParameterError if its card is not valid, or names another plugin.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        raise StoreError(f"{path} does not exist; run: dvc repro train")
    with _report_damage(path):
        file = safe_open(path, framework="pt")
        metadata = file.metadata() or {}
        if metadata.keys() != {"card", "sha256"}:
            raise ValueError("it has no card with a checksum")
        card = check(json.loads(metadata["card"]), Card, where=f"{path}, card", allow=allow)
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        if card.head.name in HEADS:
            one = card.model_copy(update={"members": 1})
            with torch.device("meta"):  # which takes no memory, and for a single member little time
                expected = _shapes(_build(one, allow))
            prefixes = [f"members.{number}." for number in range(card.members)] if card.members > 1 else [""]
            _require_shapes({f"{it}{name}": shape for it in prefixes for name, shape in expected.items()}, shapes)
    head = _build(card, allow)
    with _report_damage(path):
        _require_shapes(_shapes(head), shapes)
        state = {name: file.get_tensor(name) for name in shapes}
        if _checksum(metadata["card"], state) != metadata["sha256"]:
            raise ValueError("its checksum differs")
        _load(head, state)
    return head.eval(), card


@contextmanager
def _report_damage(path: Path) -> Iterator[None]:
    """Turn whatever safetensors, JSON and torch raise into a StoreError that names the file."""
    try:
        yield
    except ParameterError:
        raise
    except (SafetensorError, KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = one_line(str(error))
        raise StoreError(f"{path} is damaged or of another version ({reason}); run: dvc repro train") from error


def _build(card: Card, allow: Collection[str]) -> Head:
    with allow_only(allow):
        build = lookup(HEADS, card.head.name, "head")
    config = with_options_model(card.head, build, part=f"head {card.head.name!r}")
    return as_one_head([build(config, card.shapes) for _ in range(card.members)])


def _shapes(head: Head) -> dict[str, list[int]]:
    """Return the shapes of the head's tensors by name."""
    return {name: [*value.shape] for name, value in _unique_state(head).items()}


def _require_shapes(expected: Mapping[str, Sequence[int]], shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise if a file's tensors, by name their shape, are not those expected."""
    for name in sorted({*shapes, *expected}):
        stored, built = (them.get(name, "absent") for them in (shapes, expected))
        if stored != built:
            raise ValueError(f"the shape of {name!r} is {stored}, not {built}")


def _load(head: Head, state: Mapping[str, Tensor]) -> None:
    """Put tensors of the right shapes into a head; raise if one has another type, or holds NaN."""
    types = {name: value.dtype for name, value in _unique_state(head).items()}
    for name, value in sorted(state.items()):
        if value.dtype != types[name] or value.isnan().any():
            raise ValueError(f"{name!r} is not of the type {types[name]}, or holds NaN")
    head.load_state_dict(state, strict=False)  # a shared classifier has two names


def _unique_state(head: Head) -> dict[str, Tensor]:
    """Return the head's state; a tensor with two names is listed once."""
    state = head.state_dict(keep_vars=True)
    first = {id(value): name for name, value in reversed(state.items())}
    return {name: value for name, value in state.items() if first[id(value)] == name}


def _checksum(card: str, state: Mapping[str, Tensor]) -> str:
    """Return the sha256 of a card and of all tensors, with their names, types and shapes."""
    total = hashlib.sha256(card.encode())
    for name, value in sorted(state.items()):
        total.update(f"{name} {value.dtype} {[*value.shape]}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _sort_header(content: bytes) -> bytes:
    """Return a safetensors file with a sorted header: safetensors itself writes metadata in any order."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def _settings(embeddings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a modality's embeddings and of the file that they were made from, in one dict."""
    return {**embeddings["upstream"]["config"], **embeddings["config"]}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {before.get(name)} then, {now.get(name)} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
