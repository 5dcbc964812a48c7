"""What computes: a processor of some kind, or a GPU where there is one."""

import platform
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.base.errors import ParameterError

if TYPE_CHECKING:
    import torch

CPUINFO = Path("/proc/cpuinfo")  # of Linux


def find_device(device: str) -> "torch.device":
    """Return the device; raise where this machine has none of that name."""
    import torch  # here, because media need none of it

    found = torch.device(device)
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[found.type]
    if (found.index or 0) >= there:
        count = f"{there} {found.type} device{'s' if there > 1 else ''}" if there else f"no {found.type} device"
        raise ParameterError(f"run.device = {device!r}: torch finds {count} here; there is cpu")
    return found


@cache
def hardware(device: str) -> str:
    """Return the kind of what computes on this machine: another kind gives other last digits."""
    if device == "cpu":
        return _processor()
    import torch

    found = find_device(device)
    return f"{_processor()}, {torch.cuda.get_device_name(found) if found.type == 'cuda' else found.type}"


def _processor() -> str:
    """Return what libraries choose their kernels by: the processor's maker, and the instructions that it knows."""
    words = CPUINFO.read_text(encoding="utf-8").partition("\n\n")[0] if CPUINFO.exists() else platform.processor()
    maker = re.findall(r"(?:vendor_id|CPU implementer|CPU part)\s*: (\w+)", words)
    others = sorted(set(re.findall(r"\b(?:avx_vnni|avx512_bf16|amx_\w+|bf16|i8mm)\b", words)))  # numpy skips these
    known = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])  # left out where it is empty
    return " ".join([platform.machine(), *maker, *known, *others])
