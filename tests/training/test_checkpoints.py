"""Saved heads: they load as they were saved, describe themselves, and refuse embeddings made differently."""

import json
import os
import random
import re
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import assert_one_line, mutate
from report_samples import evaluation
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ParameterError, StoreError
from pipeline.evaluation.results import headline
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.table import HEADS
from pipeline.store.tokens import Tokens
from pipeline.training import checkpoints
from pipeline.training.answers import predict
from pipeline.training.checkpoints import Card, TrainedOn, TrainedPart, load_head, save_head
from pipeline.training.head_file import HeadFile
from pipeline.training.recipe import TrainConfig

CLASSES = ("anger", "fear", "neutral")


def provenance(modality: str, **settings: Any) -> dict[str, Any]:
    """Return the provenance of one modality's embeddings."""
    return {
        "config": {"tokens": "pooled", **settings},
        "weights": {"name": "random", "sha256": "0"},
        "upstream": {"config": {"detector": "cascade", "window_s": None}, "fingerprint": "u", "version": "v"},
        "fingerprint": json.dumps([modality, settings]),
        "failures": {},
        "version": "w",
    }


EMBEDDINGS = {modality: provenance(modality) for modality in ("visual", "acoustic")}


def card(name: str = "fdan") -> Card:
    """Return a card with fields that differ from their defaults."""
    return Card(
        head=HeadConfig(name=name, width=8),
        alignment=AlignmentConfig(layer_weights=(1.0, 0.5)),
        train=TrainConfig(seeds=(3, 4)),
        classes=CLASSES,
        shapes=Shapes(6, 6, 3),
        embeddings={name: TrainedOn(**it) for name, it in EMBEDDINGS.items()},
        libraries={"torch": "2"},
        trained=TrainedPart(seed=0, clips=7, visual=7, acoustic=5, media=""),
        temperatures={"fused": 1.5},
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


def rewrite(path: Path, changes: dict[str, Any], *, signed: bool = True) -> None:
    """Change values of a head's card, by their dotted names, and the checksum, if the card is to be signed."""
    with safe_open(path, framework="pt") as file:
        content, sha256 = json.loads(file.metadata()["card"]), file.metadata()["sha256"]
    for name, value in changes.items():
        *parents, last = name.split("__")
        reduce(dict.__getitem__, parents, content)[last] = value
    text, state = json.dumps(content), load_file(path)
    save_file(state, path, {"card": text, "sha256": checkpoints._checksum(text, state) if signed else sha256})


def refusal(path: Path, **options: Any) -> str:
    """Return the message with which a head is refused."""
    with pytest.raises((StoreError, ParameterError)) as error:
        load_head(path, **options)
    assert_one_line(str(error.value))
    assert str(path) in str(error.value)
    return str(error.value)


def test_file_that_is_no_head_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    assert "does not exist; run: dvc repro train" in refusal(path)
    save_head(untrained("fdan"), card(), path)
    whole, numbers = path.read_bytes(), load_file(path)
    hint = r"is damaged or of another version \(.*\); run: dvc repro train"
    for content in (
        whole[: len(whole) // 2],
        whole + b"\0",
        b"",
        b"\x89PNG\r\n",
        b"\xff" * 100,
        whole[:8] + b"{" * 9999,
    ):
        path.write_bytes(content)
        assert re.search(hint, refusal(path))
    save_file(numbers, path)  # as written by others, or by an earlier version
    assert "it has no card with a checksum" in refusal(path)
    save_file(numbers, path, {"card": card().model_dump_json()})
    assert "it has no card with a checksum" in refusal(path)
    path.unlink()
    os.mkfifo(path)
    assert "does not exist" in refusal(path)


def test_any_flipped_bit_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    save_head(untrained("concat"), card("concat"), path)
    whole, draw = path.read_bytes(), random.Random(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    for position in [*range(12), *draw.sample(range(header), 300), *draw.sample(range(header, len(whole)), 100)]:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises((StoreError, ParameterError)):
            load_head(path)


def test_a_mutated_head_is_refused_in_one_line_or_loads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    save_head(untrained("fdan"), card(), path)
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    expected = {name: value.tolist() for name, value in load_head(path)[0].state_dict().items()}
    for _ in range(200):
        path.write_bytes(mutate(whole, draw))
        try:
            head, loaded_card = load_head(path)
        except (StoreError, ParameterError) as error:
            assert_one_line(str(error))
            refused += 1
        else:
            assert loaded_card == card()
            assert {name: value.tolist() for name, value in head.state_dict().items()} == expected
    assert refused > 150


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head__name": "no_head"}, "unknown head 'no_head'"),
        ({"head__name": "/etc/passwd"}, "unknown head '/etc/passwd'"),
        ({"head__width": -8}, "card.head.width = -8"),
        ({"head__width": 10**400}, "h.safetensors"),
        ({"head__width": 16}, "the shape of"),
        ({"train__epochs": 0}, "card.train.epochs = 0"),
        ({"alignment__kernel_mul": 0.5}, "card.alignment.kernel_mul = 0.5"),
        ({"more": 1}, "card.more: unknown key"),
        ({"classes": ["a", "b", "b"]}, "the classes are not different names"),
        ({"classes": ["a", "b"]}, "not those of 2 classes"),
        ({"classes": ["", "b", "c"]}, "the classes are not different names"),
        ({"classes": ["a", "b", "x" * 101]}, "the classes are not different names"),
        ({"shapes": [-6, 6, 3]}, "the shapes are not between 1 and 1048576"),
        ({"shapes": [10**30, 6, 3]}, "card"),
        ({"shapes": [1 << 20, 6, 3], "head__width": 8192}, "the shape of"),
        ({"shapes": [6, 6]}, "card.shapes"),
        ({"embeddings": {}}, "these are not the modalities `visual` and `acoustic`"),
        ({"embeddings__visual__weights": "imagenet"}, "card.embeddings.visual.weights"),
        ({"embeddings__visual__config": []}, "card.embeddings.visual.config"),
        ({"embeddings__visual__upstream__version": None}, "card.embeddings.visual.upstream.version"),
        ({"trained": {"protocol": {"a": 1}}}, "card.trained"),
    ],
)
def test_odd_values_in_the_card_are_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = tmp_path / "h.safetensors"
    save_head(untrained("fdan"), card(), path)
    rewrite(path, changes)
    assert words in refusal(path)


def test_a_change_in_the_card_or_the_tensors_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "h.safetensors"
    save_head(untrained("fdan"), card(), path)
    rewrite(path, {"classes": ["anger", "neutral", "fear"]}, signed=False)
    assert "its checksum differs" in refusal(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    for name, value, words in (
        ("time", torch.zeros(3), "the shape of 'time' is [3], not absent"),
        ("classify_visual.bias", torch.zeros(4), "the shape of 'classify_visual.bias' is [4], not [3]"),
        ("classify_visual.bias", torch.zeros(3, dtype=torch.float64), "is not of the type torch.float32"),
        ("classify_visual.bias", torch.tensor([0, torch.nan, 0]), "or holds NaN"),
    ):
        changed = state | {name: value}
        save_file(changed, path, metadata | {"sha256": checkpoints._checksum(metadata["card"], changed)})
        assert words in refusal(path)
    state.pop("classify_visual.bias")
    save_file(state, path, metadata)
    assert "the shape of 'classify_visual.bias' is absent, not [3]" in refusal(path)


@pytest.mark.parametrize("part", ["head", "alignment"])
def test_a_card_runs_only_the_plugins_that_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as `python -m` does with the current folder
    code = "from pathlib import Path\nPath('imported').touch()\nfrom fdan import HEADS\nbuild = HEADS['fdan']\n"
    for folder in ("plugins", "."):
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "strangers_code.py").write_text(code)
    path = Path("h.safetensors")
    save_head(untrained("fdan"), card(), path)
    rewrite(path, {f"{part}__name": "strangers_code:build"})
    for allow in ((), ("strangers_code:built", "strangers_code")):
        message = refusal(path, allow=allow)
        assert f"{part} 'strangers_code:build' is not built in" in message
        assert "fdan predict --allow-plugin strangers_code:build" in message
    assert not Path("imported").exists()
    head, _ = load_head(path, allow=["strangers_code:build"])
    assert Path("imported").exists() == (part == "head")
    torch.testing.assert_close(head.state_dict(), untrained("fdan").state_dict())


def test_head_file_holds_the_card_and_the_expected_scores(tmp_path: Path) -> None:
    expected = headline(evaluation())
    HeadFile(**dict(card()), expected=expected).write(tmp_path / "head.json")
    content = json.loads((tmp_path / "head.json").read_text())
    assert content["schema"] == "fdan.head/2"
    assert content["expected"][0]["uar_interval"] == list(expected[0].uar_interval)
    loaded = HeadFile.read(tmp_path / "head.json")
    assert loaded.expected == expected
    assert (loaded.recipe, loaded.shapes) == (card().recipe, card().shapes)


def test_a_head_is_loaded_with_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "optional_head.py").write_text(
        "from fdan import Config, takes_options\n"
        "from pipeline.heads.linear import LinearHead\n"
        "class Options(Config):\n"
        "    temperature: float = 1.0\n"
        "@takes_options(Options)\n"
        "class Own(LinearHead):\n"
        "    def __init__(self, config, shapes):\n"
        "        super().__init__(config, shapes)\n"
        "        self.temperature = config.options.temperature\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path, name = tmp_path / "h.safetensors", "optional_head:Own"
    for options, temperature in (({"temperature": 2}, 2.0), ({}, 1.0)):
        described = card().model_copy(update={"head": HeadConfig(name=name, width=8, options=options)})
        save_head(untrained("linear"), described, path)
        head, loaded = load_head(path, allow=[name])
        assert head.temperature == temperature
        assert loaded.head == described.head
    with safe_open(path, framework="pt") as file:
        assert "options" not in json.loads(file.metadata()["card"])["head"]
