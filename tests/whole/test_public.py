"""The public package `fdan`: complete, documented, and cheap to import."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

import fdan
from pipeline.base.provenance import ROOT, source_files

IMPORTS = {
    alias.name: node.module or ""
    for node in ast.walk(ast.parse((ROOT / "fdan/__init__.py").read_text()))
    if isinstance(node, ast.ImportFrom) and node.module not in ("importlib", "typing")
    for alias in node.names
}


def test_public_names_are_those_that_type_checkers_see() -> None:
    assert sorted(fdan.__all__) == sorted(IMPORTS)
    assert fdan._MODULES == IMPORTS
    assert dir(fdan) == sorted(fdan.__all__)


@pytest.mark.parametrize("name", sorted(fdan.__all__))
def test_public_name_resolves_and_has_a_docstring(name: str) -> None:
    module = import_module(IMPORTS[name])
    value = getattr(fdan, name)
    assert value is getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__module__ == module.__name__
        assert value.__doc__
    else:
        assert attribute_docstring(Path(module.__file__ or ""), name)


def attribute_docstring(path: Path, name: str) -> str:
    """Return the string that follows the assignment of a module's variable."""
    body = ast.parse(path.read_text()).body
    for node, following in pairwise(body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(following, ast.Expr) and any(isinstance(it, ast.Name) and it.id == name for it in targets):
            return str(ast.literal_eval(following.value))
    return ""


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fdan' has no attribute 'Haed'"):
        _ = fdan.Haed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import fdan", ("numpy", "pipeline", "torch")),
        ("from fdan import FeatureStore", ("cv2", "librosa", "sklearn", "torchvision")),
        ("from fdan import Head, lmmd", ("cv2", "librosa", "torchvision")),
    ],
)
def test_import_loads_only_what_is_asked_for(statement: str, absent: tuple[str, ...]) -> None:
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(absent) & set(result.stdout.split())


@pytest.mark.parametrize(
    ("statement", "rooms"),
    [
        ("from fdan import DetectorConfig", {"base", "faces"}),
        ("from fdan import lmmd", {"alignments", "base"}),
        ("import fdan", {"alignments", "faces", "heads", "predict", "training"}),
    ],
)
def test_plugin_depends_on_the_rooms_that_it_imports_by_name(
    statement: str, rooms: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "plugin_" + "_".join(sorted(rooms))
    (tmp_path / f"{name}.py").write_text(f"{statement}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    used = {it.split(".")[1] for it in source_files(name) if it.startswith("pipeline.")}
    assert used >= rooms
    if statement != "import fdan":
        assert not {"predict", "training", "store"} & used
