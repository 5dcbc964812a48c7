"""A copy that was unpacked from a ZIP file has no git history, and builds all the same."""

import shutil
from pathlib import Path

import pytest
from workspace import Workspace

pytestmark = pytest.mark.slow


def test_copy_without_git_builds_and_a_later_git_init_is_noticed(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, scheduler="synchronous")
    workspace.change_params({"render": {"sample": {"speakers": 2}}})
    shutil.rmtree(tmp_path / ".git")
    assert "not a git repository" in workspace.run("dvc", "status").stderr
    make = ("make", "--assume-old=.venv/installed", "dvc-scm")
    commands = workspace.run("make", "--assume-old=.venv/installed", "--dry-run", "repro").stdout
    assert 0 <= commands.index("core.no_scm true") < commands.index("dvc repro")
    assert workspace.run(*make).returncode == 0
    assert workspace.repro("manifest") == {"render@sample", "corpus@sample", "manifest"}
    workspace.run("git", "init", "-q")
    assert workspace.run(*make).returncode == 0
    assert "no_scm" not in (tmp_path / ".dvc/config.local").read_text()
    assert workspace.repro("manifest") == set()
