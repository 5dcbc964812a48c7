"""What computes: the CPU, or a GPU where there is one."""

import torch

from pipeline.errors import ParameterError


def find_device(device: str) -> torch.device:
    """Return the device; raise where this machine has none of that name."""
    found = torch.device(device)
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[found.type]
    if (found.index or 0) >= there:
        count = f"{there} {found.type} device{'s' if there > 1 else ''}" if there else f"no {found.type} device"
        raise ParameterError(f"run.device = {device!r}: torch finds {count} here; there is cpu")
    return found
