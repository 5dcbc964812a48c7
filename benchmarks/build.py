"""The whole build on the sample corpus, as a user runs it: seconds, memory, and what a second run costs."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.figures import Figure, single
from pipeline.provenance import ROOT

SAMPLING_S = 0.5


def measure() -> list[Figure]:
    """Clone the last commit into an empty folder, and build it there with an empty memo."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "fdan"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        environment = os.environ | {
            "FDAN_CACHE": str(Path(folder) / "cache"),
            "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
        }
        build_s, peak_gb = _run(clone, environment)
        again_s, _ = _run(clone, environment)
        shutil.rmtree(clone / "data")
        shutil.rmtree(clone / ".dvc/cache")
        memo_s, _ = _run(clone, environment)
    return [
        single("dvc repro, sample, empty memo", build_s, "s", target="< 480 s on 2 cores"),
        single("dvc repro, nothing to do", again_s, "s", target="< 5 s"),
        single("peak memory of the build, all processes", peak_gb, "GB", target="< 3 GB"),
        single("rebuild from the memo, sample", build_s / memo_s, "times faster", against="empty memo", target=""),
    ]


def _run(folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Return the seconds that `dvc repro` took and the most memory that its processes held together, in GB."""
    start = time.perf_counter()
    process = subprocess.Popen(["dvc", "repro", "-q"], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
    watcher.start()
    if process.wait() != 0:
        raise SystemExit("error: dvc repro failed; run it by itself to see why")
    seconds = time.perf_counter() - start
    watcher.join()
    return seconds, peak[0] / 1e9


def _watch(pid: int, peak: list[int]) -> None:
    """Keep the largest sum of proportional memory: shared pages count once."""
    while psutil.pid_exists(pid):
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        peak[0] = max(peak[0], sum(_memory(process) for process in family))
        time.sleep(SAMPLING_S)


def _memory(process: psutil.Process) -> int:
    try:
        held = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0
    return int(getattr(held, "pss", held.uss))
