"""Trained heads on disk: one safetensors file each, with a JSON card of all that is needed to use it."""

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
    """What a head is, and the data and the recipe of its training."""

    head: HeadConfig
    alignment: AlignmentConfig
    train: TrainConfig
    classes: tuple[str, ...]  # in the order of the logits
    shapes: Shapes
    embeddings: dict[str, Any]  # by modality: their settings and fingerprint
    libraries: dict[str, str]
    trained: dict[str, Any]  # the part of the data, the number of epochs

    @property
    def recipe(self) -> Recipe:
        """The recipe of its training."""
        return Recipe(self.head, self.alignment, self.train)

    def require_match(self, classes: Sequence[str], embeddings: Mapping[str, Any], path: Path) -> None:
        """Raise if the head has other classes, or was trained on embeddings that were made differently."""
        if self.classes != tuple(classes):
            trained, expected = (", ".join(names) for names in (self.classes, classes))
            raise StoreError(f"{path} classifies {trained}, but the corpus has {expected}; run: dvc repro")
        for modality, trained_on in self.embeddings.items():
            other = embeddings[modality]
            if trained_on["fingerprint"] != other["fingerprint"]:
                changed = _differences(_settings(trained_on), _settings(other)) or ["code, libraries or weights differ"]
                raise StoreError(
                    f"{path} was trained on other {modality} embeddings than those in data/embeddings/{modality}.h5 "
                    f"({'; '.join(changed)}); run: dvc repro"
                )


def save_head(head: Head, card: Card, path: Path) -> None:
    """Write the head's state and its card."""
    state = {name: value.contiguous() for name, value in _unique_state(head).items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(state, {"card": card.model_dump_json()}))


def load_head(path: Path) -> tuple[Head, Card]:
    """Return a saved head and its card; no code in the file is executed."""
    if not path.is_file():
        raise StoreError(f"{path} does not exist; run: dvc repro train")
    try:
        with safe_open(path, framework="pt") as file:
            card = Card.model_validate_json((file.metadata() or {})["card"])
        state = load_file(path)
        head: Head = lookup(HEADS, card.head.name, "head")(card.head, card.shapes)
    except (SafetensorError, KeyError, ValidationError, ParameterError) as error:
        raise StoreError(
            f"{path} is damaged or of another version ({' '.join(str(error).split())[:200]}); run: dvc repro train"
        ) from error
    expected = _unique_state(head)
    if state.keys() != expected.keys() or any(value.shape != state[name].shape for name, value in expected.items()):
        raise StoreError(f"{path} was written by another version of the head {card.head.name}; run: dvc repro train")
    head.load_state_dict(state, strict=False)  # a shared classifier has two names
    return head.eval(), card


def _unique_state(head: Head) -> dict[str, Tensor]:
    """Return the head's state; a tensor with two names is listed once."""
    state = head.state_dict()
    first = {value.data_ptr(): name for name, value in reversed(state.items())}
    return {name: value for name, value in state.items() if first[value.data_ptr()] == name}


def _settings(embeddings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a modality's embeddings and of the file that they were made from, in one dict."""
    return {**embeddings["upstream"]["config"], **embeddings["config"]}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {before.get(name)} then, {now.get(name)} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
