"""Builders: what is no builder is one line, and an error in a builder's own code stays as it is."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.builders import build
from pipeline.base.errors import ParameterError


def _double(value: int) -> Callable[[], int]:
    return lambda: 2 * value


def _broken(value: int) -> Callable[[], int]:
    return _double("x" + value)  # type: ignore[operator]


TABLE: dict[str, Callable[..., Any]] = {
    "double": _double,
    "broken": _broken,
    "none": lambda value: None,
    "two": lambda one, two: _double,
}


def test_builder_is_called() -> None:
    assert build(TABLE, "double", "thing", 4, expected=Callable)() == 8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "thing 'none' is no builder: it returned NoneType, not Callable or int$"),
        ("two", "thing 'two' is no builder: .*missing 1 required positional argument"),
    ],
)
def test_what_is_no_builder_is_one_line(name: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        build(TABLE, name, "thing", 4, expected=(Callable, int))


def test_function_of_another_kind_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/own_things.py").write_text("from os import system\nfrom builtins import str as text\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(ParameterError, match="'own_things:system' is no builder: expected str, bytes or os"):
        build(TABLE, "own_things:system", "thing", {}, expected=Callable)
    with pytest.raises(ParameterError, match="'own_things:text' is no builder: it returned str, not Callable"):
        build(TABLE, "own_things:text", "thing", {}, expected=Callable)


def test_type_error_in_the_code_of_a_builder_is_no_parameter_error() -> None:
    with pytest.raises(TypeError) as error:
        build(TABLE, "broken", "thing", 4, expected=Callable)
    assert not isinstance(error.value, ParameterError)
