"""The import of torchvision, which by itself loads torch's compiler for a second."""

import sys
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


def import_torchvision() -> None:
    """Import torchvision without torch's compiler, in a tenth of the time; call it before you import its modules.

    It needs one function of the compiler, in `roi_align`, which gets it when it runs.
    """
    if "torchvision" in sys.modules or COMPILER in sys.modules:
        return
    package: Any = ModuleType(COMPILER)
    package.utils = ModuleType(f"{COMPILER}.utils")
    package.utils.is_compile_supported = _is_compile_supported
    modules = {COMPILER: package, f"{COMPILER}.utils": package.utils}
    sys.modules.update(modules)
    try:
        import torchvision  # noqa: F401
    finally:
        for name in modules:
            del sys.modules[name]


def _is_compile_supported(device: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device))
