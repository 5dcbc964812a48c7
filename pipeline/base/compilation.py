"""Functions that numba compiles for this processor. Modules that use them are imported late, and may fail to be."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from pipeline.base.files import cache_folder

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(signature: str) -> Callable[[Function], Function]:
    """Compile a function now, or load it from `$FDAN_CACHE`; raise `OSError` or `RuntimeError` if it cannot be stored.

    Arithmetic is that of IEEE 754, without contraction, so the results do not depend on the processor.
    """

    def compile_now(function: Function) -> Function:
        config: Any = numba.config
        previous = config.CACHE_DIR
        config.CACHE_DIR = str(cache_folder() / "numba")
        try:
            return cast(Function, numba.njit(signature, cache=True, error_model="numpy", nogil=True)(function))
        finally:
            config.CACHE_DIR = previous  # librosa has functions of its own

    return compile_now
