"""The whole build on the sample corpus, as a user runs it: seconds, memory, and what a second run costs."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import limits
from benchmarks.figures import Figure, single, slower
from benchmarks.watching import PeakMemory
from pipeline.base.provenance import ROOT

EXTRACTION = ("faces", "spectrograms", "embed_faces", "embed_mels")


def measure() -> list[Figure]:
    """Clone the last commit into an empty folder, and run `dvc repro` there with an empty memo, and again."""
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_commit("HEAD", Path(folder) / "fdan")
        environment = build_environment(clone, Path(folder) / "cache")
        first, peak_gb = run_build(clone, environment)
        again = slower(
            "dvc repro, nothing to do",
            lambda: run_build(clone, environment),
            lambda: subprocess.run(["dvc", "version"], cwd=clone, env=environment, check=True, capture_output=True),
            against="dvc version",
            target="<= 1.5",
        )
        shutil.rmtree(clone / "data/embeddings")
        shutil.rmtree(clone / ".dvc/cache")
        for name in ("faces.h5", "spectrograms.h5"):
            (clone / "data" / name).unlink()
        from_memo, _ = run_build(clone, environment)
        limit_s = limits.seconds(sorted((clone / "data/sample").rglob("*.mp4")))
    extraction_s, memo_s = (sum(seconds[stage] for stage in EXTRACTION) for seconds in (first, from_memo))
    return [
        single("dvc repro, sample, empty memo", sum(first.values()), "s", target="< 480 s on 2 cores"),
        again,
        single("peak memory of the build, all processes", peak_gb, "GB", target="< 3 GB"),
        single(
            "extraction, four stages",
            100 * limit_s / extraction_s,
            "% of the limit",
            against="decoding, detection, spectrograms and embedding alone",
            target=">= 75 %",
        ),
        single("extraction from the memo", extraction_s / memo_s, "times faster", against="empty memo", target=""),
    ]


def clone_commit(commit: str, folder: Path) -> Path:
    """Return the folder, into which this repository is cloned at a commit."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "-q", commit], cwd=folder, check=True)
    return folder


def build_environment(clone: Path, cache: Path) -> dict[str, str]:
    """Return the environment variables of commands that run a clone's code with a cache of its own."""
    return os.environ | {
        "FDAN_CACHE": str(cache),
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
        "PYTHONPATH": str(clone),
    }


def run_build(folder: Path, environment: dict[str, str], *targets: str) -> tuple[dict[str, float], float]:
    """Run `dvc repro`, of some targets or of everything.

    Return the seconds per stage ("" is the time before the first) and the peak memory in GB.
    """
    process = subprocess.Popen(
        ["dvc", "repro", *targets],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    stage, start = "", time.perf_counter()
    seconds: dict[str, float] = {}
    with PeakMemory(process.pid) as memory:
        for line in process.stdout or ():
            if line.startswith("Running stage"):
                now = time.perf_counter()
                seconds[stage] = now - start
                stage, start = line.split("'")[1], now
    seconds[stage] = time.perf_counter() - start
    if process.wait() != 0:
        raise SystemExit("error: dvc repro failed; run it in a terminal to see why")
    return seconds, memory.peak_gb
