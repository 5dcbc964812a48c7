"""Provenance: a code version changes with what the code does, and with nothing else."""

import importlib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from conftest import QUICK
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.provenance import (
    ROOT,
    code_version,
    digest,
    fingerprint,
    library_versions,
    plugin_distributions,
    source_files,
)

NUMBERS = itertools.count()
PACKAGE = {
    "__init__.py": "",
    "steps.py": (
        '"""Steps."""\n\nfrom {name} import near\nfrom {name}.deep.far import FAR\n\nLIMIT = 1\n\n\n'
        'def step(x):\n    """Take a step."""\n    from . import late\n\n    # All of them count.\n'
        "    return x + LIMIT + near.NEAR + FAR + late.LATE\n"
    ),
    "near.py": "import {name}.indirect\nNEAR = 1\n",
    "indirect.py": "INDIRECT = 1\n",
    "late.py": "LATE = 1\n",
    "deep/__init__.py": "DEEP = 1\n",
    "deep/far.py": "import numpy\nfrom ..near import NEAR\nFAR = 1\n",
    "unused.py": "UNUSED = 1\n",
}

Version = Callable[..., str]


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    """A function that rewrites the package with one file edited, and returns the code version of its step."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    name = f"provenance_{next(NUMBERS)}"

    def version_after_edit(file: str = "steps.py", old: str = "", new: str = "") -> str:
        for path, text in PACKAGE.items():
            text = text.replace("{name}", name)
            if path == file:
                assert old in text
                text = text.replace(old, new, 1)
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text, encoding="utf-8")
        source_files.cache_clear()
        code_version.cache_clear()
        importlib.invalidate_caches()
        return code_version(importlib.import_module(f"{name}.steps").step)

    return version_after_edit


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("steps.py", "# All of them count.", "# Reworded."),
        ("steps.py", '"""Take a step."""', '"""Go one step, as far as\n\n    all of them say.\n    """'),
        ("steps.py", '    """Take a step."""\n', ""),
        ("steps.py", '"""Steps."""\n\n', ""),
        ("steps.py", "x + LIMIT", "(x\n        + LIMIT)"),
        ("near.py", "NEAR = 1", "NEAR    =    1  # near"),
        ("late.py", "LATE = 1", "'''Late.'''\nLATE = 1"),
        ("unused.py", "1", "2"),
        ("deep/__init__.py", "DEEP = 1\n", "DEEP = 1\n\n"),
    ],
)
def test_comments_layout_and_unused_modules_keep_the_version(version: Version, file: str, old: str, new: str) -> None:
    assert version(file, old, new) == version()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("steps.py", "LIMIT = 1", "LIMIT = 2"),
        ("steps.py", "x + LIMIT", "x - LIMIT"),
        ("near.py", "NEAR = 1", "NEAR = 2"),
        ("indirect.py", "1", "2"),
        ("late.py", "1", "2"),
        ("deep/far.py", "FAR = 1", "FAR = 2"),
        ("deep/__init__.py", "1", "2"),
        ("__init__.py", "", "import sys"),
        ("late.py", "LATE = 1", "LATE = 1\n'''A string that is no docstring.'''"),
    ],
)
def test_changed_code_changes_the_version(version: Version, file: str, old: str, new: str) -> None:
    assert version(file, old, new) != version()


def test_byte_order_mark_keeps_the_version(version: Version) -> None:
    assert version("steps.py", '"""Steps."""', '\ufeff"""Steps."""') == version()


def write_modules(folder: Path, monkeypatch: pytest.MonkeyPatch, **sources: str) -> Callable[[str], Any]:
    """Write single-file modules to a folder on the search path; return the function that imports them."""
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for name, text in sources.items():
        (folder / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    source_files.cache_clear()
    code_version.cache_clear()
    importlib.invalidate_caches()
    return importlib.import_module


def test_sources_of_a_plugin_include_modules_in_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {
        "user_plugin": "import numpy\nimport user_helper\nfrom pipeline.base.files import write_text\n"
        "def build(): pass\n",
        "user_helper": "LIMIT = 1\n",
    }
    write_modules(tmp_path, monkeypatch, **sources)
    files = set(source_files("user_plugin").values())
    assert {tmp_path / "user_plugin.py", tmp_path / "user_helper.py", ROOT / "pipeline/base/files.py"} <= files
    assert all(path.is_relative_to(tmp_path) or path.is_relative_to(ROOT / "pipeline") for path in files)


def test_installed_libraries_count_by_version_not_by_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    sources = {"installed_detector": "import installed_helper\ndef build(): pass\n", "installed_helper": ""}
    write_modules(site, monkeypatch, **sources)
    assert source_files("installed_detector") == {"installed_detector": site / "installed_detector.py"}
    assert library_versions("h5py", "fdan") == {"h5py": h5py.__version__, "fdan": "0.1.0"}


def test_libraries_of_a_plugin_are_those_that_it_and_its_neighbours_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {
        "uses_libraries": "import os\nfrom pipeline.base.files import write_text\nimport h5py_user\n"
        "def build():\n    import skimage.feature\n",
        "h5py_user": "from h5py import File\n",
    }
    module = write_modules(tmp_path, monkeypatch, **sources)("uses_libraries")
    assert [name for name in plugin_distributions(module.build) if name != "fdan"] == ["h5py", "scikit-image"]
    assert plugin_distributions(h5py.File) == ["h5py", "numpy"]  # the builder is itself in an installed library
    assert plugin_distributions(code_version) == plugin_distributions(None) == []


def test_listing_source_files_runs_no_imported_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {
        "runs_nothing": "def build():\n    from never_run import Network\n    return Network()\n",
        "never_run": "raise RuntimeError('this takes a minute')\n",
    }
    write_modules(tmp_path, monkeypatch, **sources)
    assert tmp_path / "never_run.py" in source_files("runs_nothing").values()
    assert "never_run" not in sys.modules


def test_partial_has_the_version_of_its_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from functools import partial\ndef make(x): return x\nbuild = partial(partial(make), 1)\n"
    module = write_modules(tmp_path, monkeypatch, partial_builder=text)("partial_builder")
    assert code_version(module.build) == code_version(module.make)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@QUICK
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=5), st.randoms())
def test_order_of_keys_does_not_matter(values: dict[str, Any], random: Any) -> None:
    shuffled = dict(random.sample(list(values.items()), len(values)))
    assert digest(shuffled) == digest(values)
    assert fingerprint(shuffled) == fingerprint(values)


@pytest.mark.parametrize("other", [{"a": 1.5}, {"a": "1"}, {"a": [1]}, {"b": 1}, {"a": 1, "b": None}, {}])
def test_different_values_have_different_fingerprints(other: dict[str, Any]) -> None:
    assert fingerprint(other) != fingerprint({"a": 1})
