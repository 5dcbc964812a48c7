"""Torchvision without torch's compiler and SymPy, which take a second to import and which no stage uses."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

EMBED = """
import sys
import torch
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import embed

config = BackboneConfig(backbone="resnet18", weights="random", size_px=32)
tokens = embed(torch.rand(1, 3, 32, 32), config, device="cpu", model="")
assert tokens.shape == (1, 1, 512), tokens.shape
assert not {"torch._dynamo", "sympy"} & set(sys.modules)
"""
REGION = """
import torch
from pipeline.base.vision import import_torchvision
import_torchvision()
from torchvision.ops import roi_align

image = torch.arange(16.0).view(1, 1, 4, 4)
assert roi_align(image, [torch.tensor([[0.0, 0, 4, 4]])], 1, aligned=True).item() == 7.5
import torch._dynamo
assert torch.compile(lambda it: it + 1, backend="eager")(torch.zeros(1)).item() == 1
"""


@pytest.mark.parametrize("code", [EMBED, REGION], ids=["a backbone needs no compiler", "other functions have it"])
def test_torchvision_works_without_the_compiler_and_leaves_it_usable(code: str) -> None:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
