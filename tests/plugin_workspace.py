"""A folder in which `fdan check` runs: parameters, a corpus of short clips with their manifest, and `plugins/`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import assert_one_line, write_short_media
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result
from workspace import SMALL, merge

from data_manifest.manifest.clips import MANIFEST, Clip, write_rows
from pipeline.base.files import file_sha256
from pipeline.base.provenance import ROOT
from pipeline.cli.main import app

NAMES = ("s1_anger_1", "s1_fear_1", "s2_anger_1", "s2_fear_1")


@contextmanager
def plugin_workspace(folder: Path) -> Iterator[None]:
    """Make the folder a workspace and the current one, and forget its plugins afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder / "plugins"))
        _write_workspace(folder)
        yield
    forget_modules(folder)


def forget_modules(folder: Path) -> None:
    """Unload the modules of a folder: other tests have some of the same names."""
    for name, module in [*sys.modules.items()]:
        if str(folder) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]


def _write_workspace(folder: Path) -> None:
    """Write the parameters, four clips of 0.2 s of noise, and their manifest."""
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    direct = {"weights": "random", "backbone": "squeezenet1_1", "convolution": "direct", "size_px": 64}
    corpus = {"corpora": {"tiny": {"adapter": "folder", "root": "media"}}, "run": {"scheduler": "synchronous"}}
    faces = {"faces": {"no_face": "whole_frame"}}  # noise has no face
    for changes in (SMALL, faces, {"embed_faces": direct, "embed_mels": direct}, corpus):
        merge(params, changes)
    del params["corpora"]["sample"], params["render"]["sample"]
    (folder / "params.yaml").write_text(json.dumps(params))
    (folder / "plugins").mkdir()
    write_rows(folder / MANIFEST, [_write_clip(folder / "media", name) for name in NAMES], Clip)


def _write_clip(root: Path, name: str) -> Clip:
    speaker, emotion, _ = name.split("_")
    path = f"{emotion}/{name}.mp4"
    sha256 = file_sha256(write_short_media(root / path))
    return Clip(f"tiny/{name}", "tiny", path, "", f"tiny/{speaker}", emotion, "", "", "visual+acoustic", 0.2, sha256)


def fdan(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)


def check_error(*settings: str) -> str:
    """Return the one line of `fdan check` for settings that must fail, without its first word."""
    result = fdan("check", *settings)
    assert result.exit_code == 1, result.output
    message = result.output.removesuffix("\n")
    assert_one_line(message)
    assert message.startswith("error: ")
    return message.removeprefix("error: ")
