"""Builders by name: a table's names, functions in `plugins/` and in packages, and errors for all other names."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base.errors import ParameterError
from pipeline.base.registry import allow_only, check_name, lookup, refuse_loose_files, suggest

TABLE: dict[str, Callable[..., str]] = {"cascade": lambda: "ours", "blazeface": lambda: "another"}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of plugins of a project that is the current folder."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "own_builders.py").write_text("LIMIT = 3\n\ndef build():\n    return 'theirs'\n")
    (folder / "own_broken.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    for name in ("own_builders", "own_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return folder


def test_name_in_the_table_is_its_builder() -> None:
    assert lookup(TABLE, "cascade", "detector")() == "ours"


def test_function_in_plugins_is_found(plugins: Path) -> None:
    assert lookup(TABLE, "own_builders:build", "detector")() == "theirs"


def test_plugins_come_before_all_other_folders(plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/own_builders.py").write_text("def build():\n    return 'of another folder'\n")
    sys.path.insert(0, str(tmp_path / "other"))
    assert lookup(TABLE, "own_builders:build", "detector")() == "theirs"


def test_function_deep_in_a_package_is_found() -> None:
    assert lookup({}, "numpy.linalg:norm", "detector")([3, 4]) == 5


def test_name_is_checked_without_an_import(plugins: Path) -> None:
    assert check_name(TABLE, "own_builders:build", "detector") == "own_builders:build"
    with refuse_loose_files():
        assert check_name(TABLE, "own_builders:build", "detector") == "own_builders:build"
    assert "own_builders" not in sys.modules


@pytest.mark.parametrize("ask", [check_name, lookup])
@pytest.mark.parametrize("reference", ["os:system", "os.path:join", "subprocess:Popen", "builtins:exec", "token:build"])
def test_modules_of_python_hold_no_builder(plugins: Path, reference: str, ask: Callable[..., object]) -> None:
    (plugins / "token.py").write_text("def build():\n    return 'of plugins'\n")
    module = reference.partition(":")[0].partition(".")[0]
    with pytest.raises(ParameterError, match=f"^detector '{reference}': {module} is a module of Python, which holds"):
        ask(TABLE, reference, "detector")


@pytest.mark.parametrize("ask", [check_name, lookup])
def test_only_allowed_references_are_searched_for_and_imported(plugins: Path, ask: Callable[..., object]) -> None:
    path = list(sys.path)
    with allow_only(["own_builders:built"]):
        with pytest.raises(ParameterError, match=r"^detector 'own_builders:build' is not .* --allow-plugin own"):
            ask(TABLE, "own_builders:build", "detector")
        ask(TABLE, "cascade", "detector")
    assert (sys.path, "own_builders" in sys.modules) == (path, False)
    with allow_only(["own_builders:build"]):
        ask(TABLE, "own_builders:build", "detector")


@pytest.mark.parametrize(
    "name",
    ["cascad", "", "cascade ", "own.module", "own.module:", ":build", "a:b:c", "1a:b", "a-b:c", "a" * 199 + ":b"],
)
def test_unknown_name_is_refused_with_the_valid_ones(name: str) -> None:
    for ask in (check_name, lookup):
        with pytest.raises(ParameterError) as error:
            ask(TABLE, name, "detector")
        message = str(error.value)
        assert message.startswith(f"unknown detector {name!r}; ")
        assert message.endswith("valid: blazeface, cascade, or package.module:function")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (
            "no_such_package.module:build",
            "No module named 'no_such_package'; add it to plugins/ or install its package",
        ),
        ("own_broken:build", "No module named 'no_such_library'"),
        ("own_builders:biuld", "own_builders has no function 'biuld'"),
        ("own_builders:LIMIT", "own_builders has no function 'LIMIT'"),
    ],
)
def test_error_says_what_a_reference_lacks(plugins: Path, reference: str, words: str) -> None:
    with refuse_loose_files():
        assert check_name(TABLE, reference, "detector") == reference
    with pytest.raises(ParameterError) as error:
        lookup(TABLE, reference, "detector")
    assert str(error.value).startswith(f"detector {reference!r}: {words}")


def test_closest_name_is_suggested_and_none_if_none_is_close() -> None:
    assert suggest("azcade", TABLE) == "did you mean 'cascade'? valid: blazeface, cascade"
    assert suggest("zzz", TABLE) == "valid: blazeface, cascade"
    assert suggest("zzz", []) == "valid: none"
