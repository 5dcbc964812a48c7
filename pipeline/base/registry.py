"""Names of builders: one word in `params.yaml` swaps a part of a stage.

A table maps short names to functions. Each name can also be `package.module:function`, which refers to a file in
`plugins/` or to an installed package.
"""

import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pipeline.base.errors import ParameterError
from pipeline.base.plugins import PLUGINS, find_origin, search_plugins

Table = Mapping[str, Callable[..., Any]]
_loose_files_are_refused = ContextVar("loose_files_are_refused", default=False)


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return the end of an error message: the closest of the valid names, and all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + "valid: " + (", ".join(names) or "none")


@contextmanager
def refuse_loose_files() -> Iterator[None]:
    """Make `check_name` refuse modules that DVC does not track.

    This is for names that a user gives. Workers, and models that were trained elsewhere, take plugins from any folder
    that Python searches.
    """
    token = _loose_files_are_refused.set(True)
    try:
        yield
    finally:
        _loose_files_are_refused.reset(token)


def check_name(table: Table, name: str, kind: str) -> str:
    """Return `name` if the table holds it or it has the form `package.module:function`; else raise.

    No module is imported.
    """
    if name in table:
        return name
    if not _is_reference(name):
        raise ParameterError(f"unknown {kind} {name!r}; {suggest(name, table)}, or package.module:function")
    if _loose_files_are_refused.get():
        find_origin(name)
    return name


def lookup(table: Table, name: str, kind: str) -> Callable[..., Any]:
    """Return the builder that `name` stands for; raise if there is none."""
    check_name(table, name, kind)
    return table[name] if name in table else _import(name, kind)


def _is_reference(name: str) -> bool:
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), attribute))


def _import(reference: str, kind: str) -> Callable[..., Any]:
    module_name, _, attribute = reference.partition(":")
    search_plugins()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ParameterError(f"{kind} {reference!r}: {error}; add it to {PLUGINS}/ or install its package") from error
    builder = getattr(module, attribute, None)
    if not callable(builder):
        raise ParameterError(f"{kind} {reference!r}: {module_name} has no function {attribute!r}")
    function: Callable[..., Any] = builder
    return function
