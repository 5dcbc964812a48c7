"""A small copy of the repository in which tests run the pipeline as a user does."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.base.provenance import ROOT

SMALL = {
    "render": {"sample": {"speakers": 4, "utterances": 1}},
    "faces": {"frames_per_clip": 3, "size_px": 64},
    "embed_faces": {"backbone": "resnet18", "size_px": 64},
    "embed_mels": {"backbone": "resnet18", "size_px": 64},
    "head": {"width": 16},
    "train": {"epochs": 3, "ensemble": 2},
    "protocols": {"speaker_folds": {"groups": None, "folds": 2, "validation": 0.5}, "random": {"folds": 2}},
    "ablations": {"full": {}, "neither": {"alignment": {"name": "none"}, "head": {"attention_depth": 0}}},
}


def merge(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Merge nested parameters into `old`; the section `ablations` is replaced."""
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict) and name != "ablations":
            merge(old[name], value)
        else:
            old[name] = value


def executed_stages(result: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the stages that DVC executed; the run must have succeeded."""
    assert result.returncode == 0, result.stdout + result.stderr
    return {line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")}


def repository_files() -> list[str]:
    """Return the files that git does not ignore; the repository may be an unpacked ZIP file without a git history."""
    with tempfile.TemporaryDirectory() as empty:
        git = ["git", f"--git-dir={empty}/.git", f"--work-tree={ROOT}"]
        subprocess.run([*git, "init", "-q"], check=True)
        command = [*git, "ls-files", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in names.split("\0") if (ROOT / name).is_file()]


class Workspace:
    """A copy of the repository with a separate git history, a small sample corpus and a separate memo."""

    def __init__(self, folder: Path, *, cache: Path | None = None, **run: Any) -> None:
        self.folder, self.cache = folder, cache or folder / ".memo"
        for name in repository_files():
            if name not in ("dvc.lock", "results/metrics.json"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        self.change_params({**SMALL, "run": run})
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "start"]):
            subprocess.run(["git", *command], cwd=folder, check=True)

    def change_params(self, params: dict[str, Any], *, removing: Sequence[str] = ()) -> None:
        """Remove some keys (`section.key`) from `params.yaml`, then merge `params` into it."""
        current = YAML(typ="safe").load(self.folder / "params.yaml")
        for name in removing:
            section, _, key = name.partition(".")
            del current[section][key]
        merge(current, params)
        (self.folder / "params.yaml").write_text(json.dumps(current, indent=2))  # JSON is YAML and keeps the order

    @contextmanager
    def changed_params(self, params: dict[str, Any], *, removing: Sequence[str] = ()) -> Iterator[None]:
        """Change the parameters within a `with` block."""
        before = (self.folder / "params.yaml").read_bytes()
        self.change_params(params, removing=removing)
        yield
        (self.folder / "params.yaml").write_bytes(before)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment in the workspace."""
        environment = self._environment | environment
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command in a process group of its own, and drop what it writes."""
        silent = subprocess.DEVNULL
        return subprocess.Popen(
            command, cwd=self.folder, env=self._environment, stdout=silent, stderr=silent, start_new_session=True
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "FDAN_CACHE": str(self.cache),
            "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
            "PYTHONPATH": str(self.folder),  # import the copy's code, not the installed project's
            "PYTHONDONTWRITEBYTECODE": "",  # compile the copy once, not for every stage
        }

    def extraction_entries(self) -> set[str]:
        """Return the names of the memo entries that were computed from media."""
        return {path.name for path in (self.cache / "memo").glob("*/**/*.entry") if "ablate" not in path.parts}

    def repro(self, *target: str) -> set[str]:
        """Run `dvc repro`; return the executed stages."""
        return executed_stages(self.run("dvc", "repro", *target))
