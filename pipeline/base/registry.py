"""Names to builders: how a stage is swapped with one word.

A table maps short names to functions. Wherever a name is expected, `package.module:function` works too, so
that a builder may lie outside this repository.
"""

import difflib
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.base.errors import ParameterError

Table = Mapping[str, Callable[..., Any]]


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return the end of an error message: the closest of the valid names, and all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + "valid: " + (", ".join(names) or "none")


def check_name(table: Table, name: str, kind: str) -> str:
    """Return `name` if the table holds it or it has the form `package.module:function`; else raise."""
    if name not in table and not _is_reference(name):
        raise ParameterError(f"unknown {kind} {name!r}; {suggest(name, table)}, or package.module:function")
    return name


def lookup(table: Table, name: str, kind: str) -> Callable[..., Any]:
    """Return the builder that `name` stands for."""
    check_name(table, name, kind)
    return table[name] if name in table else _import(name, kind)


def _is_reference(name: str) -> bool:
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), attribute))


def _import(reference: str, kind: str) -> Callable[..., Any]:
    module_name, _, attribute = reference.partition(":")
    here = str(Path.cwd())  # a console script does not search the folder that it is started in
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ParameterError(f"{kind} {reference!r}: {error}; is its folder on PYTHONPATH?") from error
    builder = getattr(module, attribute, None)
    if not callable(builder):
        raise ParameterError(f"{kind} {reference!r}: {module_name} has no function {attribute!r}")
    function: Callable[..., Any] = builder
    return function
