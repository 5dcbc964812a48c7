"""The functions of librosa that are called here. Imported late, because that takes two seconds.

As it is imported, librosa would compile seven vectorised functions, for half a minute on a new machine. Here each is
compiled when it is first called, which the functions below hardly do.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any
from unittest.mock import patch

import numba

Function = Callable[..., Any]


def _delayed(decorator: Callable[..., Callable[[Function], Function]]) -> Callable[..., Callable[[Function], Function]]:
    """Return a decorator that calls `decorator` when the decorated function is first called."""

    def configure(*arguments: Any, **options: Any) -> Callable[[Function], Function]:
        def decorate(function: Function) -> Function:
            compiled = cache(lambda: decorator(*arguments, **options)(function))

            @wraps(function)
            def call(*values: Any, **named: Any) -> Any:
                return compiled()(*values, **named)

            return call

        return decorate

    return configure


with patch.multiple(numba, vectorize=_delayed(numba.vectorize), guvectorize=_delayed(numba.guvectorize)):
    from librosa.core.constantq import cqt
    from librosa.feature.spectral import melspectrogram, mfcc

__all__ = ["cqt", "melspectrogram", "mfcc"]
