"""Running the pipeline's stages in a small folder, as DVC would, watched for time and memory."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from pipeline.base.provenance import ROOT

SAMPLING_S = 0.1


@dataclass(frozen=True)
class StageRun:
    """How a stage ended."""

    status: int  # of its process; negative: killed by that signal
    message: str  # the last line that it wrote
    seconds: float
    worker_mb: float = 0.0  # the peak resident memory of its largest child process


RunStage = Callable[[Path, Sequence[str], float], StageRun]
"""A function of the folder, the stage with its arguments, and the seconds after which it hangs."""


def write_params(folder: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the project's parameters to a folder; a section in `changes` replaces keys of that section."""
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    for name, section in changes.items():
        params[name] = section if name in ("corpora", "protocols", "ablations", "render") else params[name] | section
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(json.dumps(params))


def start_stage(folder: Path, stage: Sequence[str], **environment: str) -> "subprocess.Popen[str]":
    """Start a stage in a process group of its own; unless `FDAN_CACHE` says otherwise, the memo is in the folder."""
    defaults = {
        "FDAN_CACHE": str(folder / ".memo"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "300",
        "PYTHONDONTWRITEBYTECODE": "",  # compile the code once, not for every stage
    }
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage[0]}", *stage[1:]],
        cwd=folder,
        env=os.environ | defaults | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def run_in_process_group(folder: Path, stage: Sequence[str], deadline_s: float, **environment: str) -> StageRun:
    """Run a stage to its end, or kill it after `deadline_s`."""
    start = time.monotonic()
    process = start_stage(folder, stage, **environment)
    peak_mb = [0.0]
    watcher = threading.Thread(target=_watch_children, args=(process, peak_mb))
    watcher.start()
    try:
        _, errors = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        kill_group(process)
        _, errors = process.communicate()
    watcher.join()
    lines = [line for line in errors.splitlines() if line.strip()]
    return StageRun(process.returncode, (lines or [""])[-1], time.monotonic() - start, peak_mb[0])


def kill_group(process: "subprocess.Popen[Any]") -> None:
    """Kill a process and all of its group at once, as the kernel does when memory runs out."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _watch_children(process: "subprocess.Popen[str]", peak_mb: list[float]) -> None:
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    peak_mb[0] = max(peak_mb[0], child.memory_info().rss / 1e6)
        time.sleep(SAMPLING_S)
