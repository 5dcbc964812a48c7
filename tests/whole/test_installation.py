"""What `make` installs, and with what."""

import subprocess

import pytest

from pipeline.base.provenance import ROOT

pytestmark = pytest.mark.slow

PACKAGES = "--constraint constraints.txt --editable '.[dev,openvino]'"
TORCH = "--no-deps --constraint constraints.txt --index-url 'https://mirror/cpu' torch torchvision"
PIP = ".venv/bin/pip install --quiet --disable-pip-version-check"
UV = "/bin/uv pip install --quiet --python .venv/bin/python"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["UV="], [f"{PIP} {PACKAGES}"]),
        (["UV=/bin/uv"], [f"{UV} {PACKAGES}"]),
        (["UV=", "TORCH_INDEX=https://mirror/cpu"], [f"{PIP} {TORCH}", f"{PIP} {PACKAGES}"]),
        (["UV=/bin/uv", "TORCH_INDEX=https://mirror/cpu"], [f"{UV} {TORCH}", f"{UV} {PACKAGES}"]),
    ],
)
def test_torch_may_come_from_another_index_and_uv_replaces_pip(settings: list[str], expected: list[str]) -> None:
    command = ["make", "--dry-run", "--what-if=Makefile", ".venv/installed", *settings]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [line for line in printed.splitlines() if "pip" in line] == expected
