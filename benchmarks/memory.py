"""Memory of a long run against a short one: results are streamed, so it should not grow."""

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, single
from benchmarks.watching import PeakMemory
from pipeline.base.provenance import ROOT
from pipeline.memo.extraction import ClipJob, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.columns import Arrays

CLIPS = (200, 2000)
RUN = "import sys; from benchmarks.memory import run; run(int(sys.argv[1]), sys.argv[2])"


def measure() -> list[Figure]:
    """Run both; a result is as large as 16 face crops."""
    peaks = []
    for clips in CLIPS:
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(clips), folder],
                cwd=ROOT,
                env={"FDAN_CACHE": f"{folder}/cache", "PATH": "/usr/bin:/bin"},
                stderr=subprocess.DEVNULL,
            )
            with PeakMemory(process.pid) as memory:
                if process.wait():
                    raise SystemExit(f"error: the run of {clips} clips failed")
            peaks.append(memory.peak_gb)
    name = f"peak memory of {CLIPS[1]:,} clips"
    return [single(name, peaks[1] / peaks[0], "times", against=f"{CLIPS[0]} clips", target="<= 1.1")]


def run(clips: int, folder: str) -> None:
    """Write the results of this number of clips to one file."""
    jobs = [ClipJob(f"clip{number:05}", str(number), partial(int, number)) for number in range(clips)]
    like = {"crops": np.empty((0, 10_000), np.uint8)}
    attributes = {"schema": "fdan.test/1"}
    with Pool(ExecutionConfig(workers=2)) as pool:
        step = Step("memory", compute, compute, params={}, libraries=("numpy",), hardware=pool.hardware)
        extract_to_file(Path(folder) / "out.h5", jobs, step, like=like, attributes=attributes, pool=pool)


def compute(number: int) -> Arrays:
    """Return 160 kB after a moment."""
    time.sleep(0.01)
    return {"crops": np.random.default_rng(number).integers(0, 256, (16, 10_000), np.uint8)}
