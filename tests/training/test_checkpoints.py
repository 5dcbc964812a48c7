"""Saved heads: they load as they were saved, describe themselves, and refuse embeddings made differently."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from report_samples import evaluation
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import StoreError
from pipeline.evaluation.results import headline
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.table import HEADS
from pipeline.store.tokens import Tokens
from pipeline.training.answers import predict
from pipeline.training.checkpoints import Card, load_head, save_head
from pipeline.training.head_file import HeadFile
from pipeline.training.recipe import TrainConfig

CLASSES = ("anger", "fear", "neutral")


def provenance(modality: str, **settings: Any) -> dict[str, Any]:
    """Return the provenance of one modality's embeddings."""
    config = {"tokens": "pooled", **settings}
    upstream = {"config": {"detector": "cascade"}, "fingerprint": "u"}
    return {"config": config, "upstream": upstream, "fingerprint": json.dumps([modality, settings])}


EMBEDDINGS = {modality: provenance(modality) for modality in ("visual", "acoustic")}


def card(name: str = "fdan") -> Card:
    """Return a card with fields that differ from their defaults."""
    return Card(
        head=HeadConfig(name=name, width=8),
        alignment=AlignmentConfig(layer_weights=(1.0, 0.5)),
        train=TrainConfig(seeds=(3, 4)),
        classes=CLASSES,
        shapes=Shapes(6, 6, 3),
        embeddings=EMBEDDINGS,
        libraries={"torch": "2"},
        trained={"clips": 7},
    )


def untrained(name: str) -> Head:
    torch.manual_seed(1)
    description = card(name)
    head = HEADS[name](description.head, description.shapes)
    with torch.no_grad():
        for value in head.state_dict().values():
            value.normal_()
    return head.eval()


@pytest.mark.parametrize("name", sorted(HEADS))
def test_loaded_head_has_the_same_answers_and_card(tmp_path: Path, name: str) -> None:
    head = untrained(name)
    save_head(head, card(name), tmp_path / "h.safetensors")
    loaded, loaded_card = load_head(tmp_path / "h.safetensors")
    assert loaded_card == card(name)
    assert loaded_card.recipe.train.seeds == (3, 4)
    visual, acoustic = (Tokens(torch.randn(2, 3, 6), torch.rand(2, 3), torch.ones(2, 3) > 0) for _ in range(2))
    examples = Examples(visual, acoustic, torch.tensor([0, 1]))
    expected = predict(head, examples)
    for answer, probabilities in predict(loaded, examples).items():
        torch.testing.assert_close(probabilities, expected[answer], rtol=0, atol=0, equal_nan=True)


def test_card_is_json_in_the_metadata_of_the_file(tmp_path: Path) -> None:
    save_head(untrained("fdan"), card(), tmp_path / "h.safetensors")
    with safe_open(tmp_path / "h.safetensors", framework="pt") as file:
        content = json.loads(file.metadata()["card"])
    assert content["classes"] == list(CLASSES)
    assert content["embeddings"]["visual"]["config"]["tokens"] == "pooled"


def test_saved_file_is_reproducible(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_head(untrained("fdan"), card(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_embeddings_are_refused_with_the_differences(tmp_path: Path) -> None:
    card().require_match(CLASSES, EMBEDDINGS, tmp_path)
    other = EMBEDDINGS | {"acoustic": provenance("acoustic", tokens="grid", grid=2)}
    with pytest.raises(StoreError, match=r"other acoustic embeddings .*grid: None then, 2 now; tokens: pooled then"):
        card().require_match(CLASSES, other, tmp_path)
    newer = EMBEDDINGS | {"visual": EMBEDDINGS["visual"] | {"fingerprint": "new"}}
    with pytest.raises(StoreError, match=r"other visual embeddings .*code, libraries or weights differ.*dvc repro"):
        card().require_match(CLASSES, newer, tmp_path)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"classifies anger, fear, neutral, but the corpus has anger, fear;"):
        card().require_match(CLASSES[:2], EMBEDDINGS, tmp_path)


def test_file_that_is_no_head_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    with pytest.raises(StoreError, match=r"does not exist; run: dvc repro train"):
        load_head(path)
    save_head(untrained("fdan"), card(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"is damaged or of another version .*run: dvc repro train"):
        load_head(path)
    path.write_bytes(whole)
    numbers = load_file(path)
    save_file(numbers, path)  # no card
    with pytest.raises(StoreError, match=r"is damaged or of another version"):
        load_head(path)
    numbers.popitem()
    save_file(numbers, path, {"card": card().model_dump_json()})
    with pytest.raises(StoreError, match=r"written by another version of the head fdan"):
        load_head(path)


def test_head_file_holds_the_card_and_the_expected_scores(tmp_path: Path) -> None:
    expected = headline(evaluation())
    HeadFile(**dict(card()), expected=expected).write(tmp_path / "head.json")
    content = json.loads((tmp_path / "head.json").read_text())
    assert content["schema"] == "fdan.head/1"
    assert content["expected"][0]["uar_interval"] == list(expected[0].uar_interval)
    loaded = HeadFile.read(tmp_path / "head.json")
    assert loaded.expected == expected
    assert (loaded.recipe, loaded.shapes) == (card().recipe, card().shapes)
