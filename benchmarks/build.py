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
from pipeline.base.files import write_text
from pipeline.base.provenance import ROOT

EXTRACTION = ("faces", "spectrograms", "embed_faces", "embed_mels")
SMALLEST = "stages: {echo: {cmd: echo 1 > out, outs: [out]}}\n"


def measure() -> list[Figure]:
    """Clone the last commit into an empty folder, and run `dvc repro` there with an empty memo, and again."""
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_commit("HEAD", Path(folder) / "fdan")
        environment = build_environment(clone, Path(folder) / "cache")
        first, peak_gb = run_build(clone, environment)
        again = _nothing_to_do("dvc repro, nothing to do", clone, environment, target="<= 1.5")
        smallest = _nothing_to_do("the same of a single echo", _write_smallest(Path(folder)), environment, target="")
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
        smallest,
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


def _nothing_to_do(name: str, folder: Path, environment: dict[str, str], *, target: str) -> Figure:
    """Time DVC on what is up to date, against what it needs to start."""
    return slower(
        name,
        lambda: run_build(folder, environment),
        lambda: subprocess.run(["dvc", "version"], cwd=folder, env=environment, check=True, capture_output=True),
        against="dvc version",
        target=target,
    )


def _write_smallest(folder: Path) -> Path:
    """Return a new folder in it with a pipeline of one stage."""
    smallest = folder / "smallest"
    subprocess.run(["git", "init", "-q", str(smallest)], check=True)
    subprocess.run(["dvc", "init", "-q"], cwd=smallest, check=True)
    shutil.copy(ROOT / ".dvc/config", smallest / ".dvc")
    write_text(smallest / "dvc.yaml", SMALLEST)
    return smallest


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
