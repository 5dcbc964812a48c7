"""The whole build on the sample corpus, as a user runs it: seconds, memory, and the cost of a second run."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import limits
from benchmarks.figures import Figure, single
from benchmarks.watching import PeakMemory
from pipeline.base.provenance import ROOT

EXTRACTION = ("faces", "spectrograms", "embed_faces", "embed_mels")


def measure() -> list[Figure]:
    """Clone the last commit into an empty folder, and build it with an empty memo."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "fdan"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        environment = os.environ | {
            "FDAN_CACHE": str(Path(folder) / "cache"),
            "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
            "PYTHONPATH": str(clone),
        }
        built, peak_gb = _run(clone, environment)
        build_s = sum(built.values())
        again, _ = _run(clone, environment)
        shutil.rmtree(clone / "data/embeddings")
        shutil.rmtree(clone / ".dvc/cache")
        for name in ("faces.h5", "spectrograms.h5"):
            (clone / "data" / name).unlink()
        remembered, _ = _run(clone, environment)
        limit_s = limits.seconds(sorted((clone / "data/sample").rglob("*.mp4")))
    extraction_s, memo_s = (sum(spent[stage] for stage in EXTRACTION) for spent in (built, remembered))
    return [
        single("dvc repro, sample, empty memo", build_s, "s", target="< 480 s on 2 cores"),
        single("dvc repro, nothing to do", sum(again.values()), "s", target="< 5 s"),
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


def _run(folder: Path, environment: dict[str, str]) -> tuple[dict[str, float], float]:
    """Run `dvc repro`; return the seconds of each stage ('' is the time before the first), the peak memory in GB."""
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    stage, start = "", time.perf_counter()
    spent: dict[str, float] = {}
    with PeakMemory(process.pid) as memory:
        for line in process.stdout or ():
            if line.startswith("Running stage"):
                now = time.perf_counter()
                spent[stage] = now - start
                stage, start = line.split("'")[1], now
    spent[stage] = time.perf_counter() - start
    if process.wait() != 0:
        raise SystemExit("error: dvc repro failed; run it by itself to see why")
    return spent, memory.peak_gb
