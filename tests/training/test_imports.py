"""Imports: processes load slow libraries only if they use them."""

import subprocess
import sys

import pytest

from pipeline.base.provenance import ROOT

pytestmark = pytest.mark.slow

SLOW = {"sklearn", "torch", "torchvision", "librosa", "matplotlib"}


@pytest.mark.parametrize(
    ("module", "used"),
    [
        ("stages.train", {"torch"}),
        ("stages.faces", set()),
        ("stages.spectrograms", {"librosa"}),
        ("stages.embed", {"torch", "torchvision"}),
        ("stages.evaluate", {"torch", "matplotlib"}),
        ("pipeline.training.replicas", {"torch"}),  # the code of workers
    ],
)
def test_importing_a_stage_loads_no_slow_library_that_it_does_not_use(module: str, used: set[str]) -> None:
    code = f"import sys, {module}; print(*{SLOW} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(done.stdout.split()) <= used
