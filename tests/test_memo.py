"""The memo: results come back as they were, a spoiled entry never does, and every ingredient counts."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.extraction import Step
from pipeline.files import written_whole
from pipeline.memo import Memo

RESULT = {"tokens": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.empty((0, 4), np.float32)}


def test_a_result_comes_back_to_the_bit(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    memo.write("step", "a" * 64, RESULT)
    again = memo.read("step", "a" * 64)
    assert again is not None
    for name, value in RESULT.items():
        np.testing.assert_array_equal(again[name], value)
        assert again[name].dtype == value.dtype
    assert memo.read("step", "b" * 64) is None
    assert memo.read("other", "a" * 64) is None


def damage(content: bytes, kind: str) -> bytes:
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return {"flipped": flipped, "cut": content[:-1], "emptied": b"", "lengthened": content + b"\0"}[kind]


@pytest.mark.parametrize("kind", ["flipped", "cut", "emptied", "lengthened"])
def test_a_spoiled_entry_is_no_entry_and_is_replaced(tmp_path: Path, kind: str) -> None:
    memo = Memo(tmp_path)
    memo.write("step", "a" * 64, RESULT)
    path = memo.path("step", "a" * 64)
    path.write_bytes(damage(path.read_bytes(), kind))
    assert memo.read("step", "a" * 64) is None
    memo.write("step", "a" * 64, RESULT)
    assert memo.read("step", "a" * 64) is not None


def test_nothing_but_whole_entries_lies_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = Memo(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PipelineError, match=r"cannot write to the memo .*No space left.*FDAN_CACHE"):
        memo.write("step", "a" * 64, RESULT)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def double(argument: int) -> dict[str, np.ndarray]:
    return {"value": np.asarray([2 * argument])}


def test_every_ingredient_changes_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Step("a", double, double, params={"x": 1}, libraries=("numpy",))
    changed = [
        replace(plain, name="b"),
        replace(plain, code=written_whole),
        replace(plain, params={"x": 2}),
        replace(plain, libraries=("numpy", "scipy")),
        replace(plain, plugin=double),
        replace(plain, weights="0123"),
        replace(plain, upstream="4567"),
    ]
    prints = {step.fingerprint for step in [plain, replace(plain), *changed]}
    assert len(prints) == 1 + len(changed)
    monkeypatch.setattr("pipeline.extraction.library_versions", lambda *_: {"numpy": "0.0"})
    assert plain.fingerprint not in prints
