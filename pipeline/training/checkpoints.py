"""Trained heads on disk: one safetensors file each, which carries, as JSON, all that is needed to use it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ParameterError, StoreError
from pipeline.base.files import atomic_write
from pipeline.base.params import Config
from pipeline.base.registry import lookup
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.table import HEADS
from pipeline.training.recipe import Recipe, TrainConfig


class Card(Config):
    """What a head is, what it was trained on and with."""

    head: HeadConfig
    alignment: AlignmentConfig
    train: TrainConfig
    classes: tuple[str, ...]  # in the order of the logits
    shapes: Shapes
    embeddings: dict[str, Any]  # by modality: the settings and the fingerprint of all that made them
    libraries: dict[str, str]
    trained: dict[str, Any]  # on what, and for how many epochs

    @property
    def recipe(self) -> Recipe:
        """What it was trained by."""
        return Recipe(self.head, self.alignment, self.train)

    def require_match(self, classes: Sequence[str], embeddings: Mapping[str, Any], path: Path) -> None:
        """Raise if the head tells other classes apart, or was trained on embeddings that were made otherwise."""
        if self.classes != tuple(classes):
            told, there = (", ".join(names) for names in (self.classes, classes))
            raise StoreError(f"{path} tells apart {told}, but the corpus shows {there}; run: dvc repro")
        for modality, own in self.embeddings.items():
            other = embeddings[modality]
            if own["fingerprint"] != other["fingerprint"]:
                changed = _differences(_settings(own), _settings(other)) or ["code, libraries or weights differ"]
                raise StoreError(
                    f"{path} was trained on other {modality} embeddings than data/embeddings/{modality}.h5 holds "
                    f"({'; '.join(changed)}); run: dvc repro"
                )


def save_head(head: Head, card: Card, path: Path) -> None:
    """Write the head's numbers and its card."""
    state = {name: value.contiguous() for name, value in _own(head).items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(state, {"card": card.model_dump_json()}))


def load_head(path: Path) -> tuple[Head, Card]:
    """Return a head as it was saved, and its card; nothing in the file is executed."""
    if not path.is_file():
        raise StoreError(f"{path} is not there; run: dvc repro train")
    try:
        with safe_open(path, framework="pt") as file:
            card = Card.model_validate_json((file.metadata() or {})["card"])
        state = load_file(path)
        head: Head = lookup(HEADS, card.head.name, "head")(card.head, card.shapes)
    except (SafetensorError, KeyError, ValidationError, ParameterError) as error:
        raise StoreError(
            f"{path} is damaged or of another version ({' '.join(str(error).split())[:200]}); run: dvc repro train"
        ) from error
    wanted = _own(head)
    if state.keys() != wanted.keys() or any(value.shape != state[name].shape for name, value in wanted.items()):
        raise StoreError(f"{path} was written by another version of the head {card.head.name}; run: dvc repro train")
    head.load_state_dict(state, strict=False)  # a classifier that serves both modalities has two names
    return head.eval(), card


def _own(head: Head) -> dict[str, Tensor]:
    """Return the head's numbers, each once."""
    state = head.state_dict()
    first = {value.data_ptr(): name for name, value in reversed(state.items())}
    return {name: value for name, value in state.items() if first[value.data_ptr()] == name}


def _settings(embeddings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a modality's embeddings and of what they were made from, in one level."""
    return {**embeddings["upstream"]["config"], **embeddings["config"]}


def _differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {own.get(name)} there, {other.get(name)} here"
        for name in sorted({*own, *other})
        if own.get(name) != other.get(name)
    ]
