"""The face step and the build against the last commit without Winograd's convolution, timed in turn."""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.build import build_environment, clone_commit, run_build
from benchmarks.figures import Figure, from_ratios
from benchmarks.steps import sample
from pipeline.base.provenance import ROOT

COMMIT = "f3bcbf9373ce65b8f0c85ff5549c6d21eaee0d68"
AGAINST = f"commit {COMMIT[:7]}"
RUNS = 5
FACES = """
import sys, time
from pathlib import Path
from pipeline.faces.crops import FacesConfig, extract_faces
paths = [Path(it) for it in sys.argv[1:]]
extract_faces(paths[0], FacesConfig())
start = time.perf_counter()
for path in paths:
    extract_faces(path, FacesConfig())
print(time.perf_counter() - start)
"""


def measure() -> list[Figure]:
    """Return the ratios, or nothing in a copy without that commit."""
    has_commit = subprocess.run(["git", "cat-file", "-e", COMMIT], cwd=ROOT, check=False, capture_output=True)
    if has_commit.returncode != 0:
        return []
    with tempfile.TemporaryDirectory() as name, sample() as paths:
        folder = Path(name)
        before, after = (clone_commit(commit, folder / commit) for commit in (COMMIT, "HEAD"))
        faces = [_faces_s(before, folder, paths) / _faces_s(after, folder, paths) for _ in range(RUNS)]
        builds = [_build_s("HEAD") / _build_s(COMMIT) for _ in range(RUNS)]
    return [
        from_ratios("face step with cascade", faces, against=AGAINST, target=">= 1.8"),
        from_ratios("dvc repro up to the embeddings", builds, unit="of the time", against=AGAINST, target="<= 0.6"),
    ]


def _faces_s(clone: Path, folder: Path, paths: list[Path]) -> float:
    """Return the seconds that a clone's code needs for the faces of some clips, without imports."""
    command = [sys.executable, "-c", FACES, *map(str, paths)]
    environment = build_environment(clone, folder / "cache")
    done = subprocess.run(command, cwd=clone, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def _build_s(commit: str) -> float:
    """Return the seconds from nothing to a commit's embeddings; later stages do other work than they did before."""
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_commit(commit, Path(folder) / "fdan")
        seconds, _ = run_build(clone, build_environment(clone, Path(folder) / "cache"), "embed_faces", "embed_mels")
        return sum(seconds.values())
