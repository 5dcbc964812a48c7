"""The hardware that computes: the processor, or a GPU."""

import platform
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.base.errors import ParameterError

if TYPE_CHECKING:
    import torch

CPUINFO = Path("/proc/cpuinfo")  # exists on Linux only


def find_device(device: str) -> "torch.device":
    """Return the torch device of this name; raise `ParameterError` if this machine does not have it."""
    import torch  # not at the top, because reading media does not need it

    wanted = torch.device(device)
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    count = counts[wanted.type]
    if (wanted.index or 0) >= count:
        devices = f"{count or 'no'} {wanted.type} device{'s' if count > 1 else ''}"
        raise ParameterError(f"run.device = {device!r}: torch finds {devices} here; use cpu")
    return wanted


@cache
def hardware(device: str) -> str:
    """Return the model of this machine's processor, and of its GPU if `device` is one.

    Results on other hardware differ in their last digits.
    """
    if device == "cpu":
        return _processor()
    import torch

    gpu = find_device(device)
    return f"{_processor()}, {torch.cuda.get_device_name(gpu) if gpu.type == 'cuda' else gpu.type}"


def _processor() -> str:
    """Return what libraries choose their kernels by: the processor's vendor and its instruction sets."""
    text = CPUINFO.read_text(encoding="utf-8").partition("\n\n")[0] if CPUINFO.exists() else platform.processor()
    vendor = re.findall(r"(?:vendor_id|CPU implementer|CPU part)\s*: (\w+)", text)
    # numpy does not report these
    matrix_extensions = sorted(set(re.findall(r"\b(?:avx_vnni|avx512_bf16|amx_\w+|bf16|i8mm)\b", text)))
    # numpy omits the key "found" if the list is empty
    extensions = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    return " ".join([platform.machine(), *vendor, *extensions, *matrix_extensions])
