"""Names to builders: a table's own names, a user's functions, and what is said of names that are neither."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.errors import ParameterError
from pipeline.base.registry import check_name, lookup, suggest

TABLE: dict[str, Callable[..., str]] = {"cascade": lambda: "ours", "blazeface": lambda: "another"}


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current folder, which is not on the search path."""
    (tmp_path / "own_builders.py").write_text("LIMIT = 3\n\ndef build():\n    return 'theirs'\n")
    (tmp_path / "own_broken.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "own_builders", raising=False)
    return "own_builders"


def test_a_name_in_the_table_is_its_builder() -> None:
    assert lookup(TABLE, "cascade", "detector")() == "ours"


def test_a_function_outside_the_repository_is_found_from_the_current_folder(own_module: str) -> None:
    assert lookup(TABLE, f"{own_module}:build", "detector")() == "theirs"


def test_a_function_deep_in_a_package_is_found() -> None:
    assert lookup({}, "os.path:join", "detector")("a", "b") == str(Path("a", "b"))


def test_a_name_is_checked_without_importing_anything(own_module: str) -> None:
    assert check_name(TABLE, f"{own_module}:build", "detector") == "own_builders:build"
    assert own_module not in sys.modules


@pytest.mark.parametrize(
    "name", ["cascad", "", "cascade ", "own.module", "own.module:", ":build", "a:b:c", "1a:b", "a-b:c"]
)
def test_a_name_that_is_neither_lists_the_valid_ones(name: str) -> None:
    for ask in (check_name, lookup):
        with pytest.raises(ParameterError) as error:
            ask(TABLE, name, "detector")
        message = str(error.value)
        assert message.startswith(f"unknown detector {name!r}; ")
        assert message.endswith("valid: blazeface, cascade, or package.module:function")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("no_such_package.module:build", "No module named 'no_such_package'; is its folder on PYTHONPATH?"),
        ("own_broken:build", "No module named 'no_such_library'"),
        ("own_builders:biuld", "own_builders has no function 'biuld'"),
        ("own_builders:LIMIT", "own_builders has no function 'LIMIT'"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_is_missing(own_module: str, reference: str, words: str) -> None:
    with pytest.raises(ParameterError) as error:
        lookup(TABLE, reference, "detector")
    assert str(error.value).startswith(f"detector {reference!r}: {words}")


def test_the_closest_name_is_suggested_and_none_where_none_is_close() -> None:
    assert suggest("azcade", TABLE) == "did you mean 'cascade'? valid: blazeface, cascade"
    assert suggest("zzz", TABLE) == "valid: blazeface, cascade"
    assert suggest("zzz", []) == "valid: none"
