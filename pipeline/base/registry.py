"""Names of builders: one word in `params.yaml` swaps a part of a stage.

A table maps short names to functions. Each name can also be `package.module:function`, which refers to a file in
`plugins/` or to an installed package.
"""

import difflib
import importlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from pipeline.base.errors import ParameterError
from pipeline.base.plugins import PLUGINS, find_origin, search_plugins
from pipeline.base.text import one_line

LONGEST_REFERENCE = 200  # characters, so that a message can show it
Table = Mapping[str, Callable[..., Any]]
Rule = Callable[[str, str], object]  # of a reference and its kind; it raises if the reference is refused
_rule: ContextVar[Rule | None] = ContextVar("rule_for_references", default=None)


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return the end of an error message: the closest of the valid names, and all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + "valid: " + (", ".join(names) or "none")


@contextmanager
def _apply_rule(rule: Rule) -> Iterator[None]:
    token = _rule.set(rule)
    try:
        yield
    finally:
        _rule.reset(token)


def refuse_loose_files() -> AbstractContextManager[None]:
    """Make `check_name` refuse modules that DVC does not track.

    This is for names that a user gives. Workers, and models that were trained elsewhere, take plugins from any folder
    that Python searches.
    """
    return _apply_rule(lambda reference, _: find_origin(reference))


def allow_only(references: Collection[str]) -> AbstractContextManager[None]:
    """Make `check_name` and `lookup` refuse every `package.module:function` that is not one of `references`.

    This is for names in a file that others may have made. What is refused is not imported, nor searched for.
    """

    def require_permission(reference: str, kind: str) -> None:
        if reference not in references:
            raise ParameterError(
                f"{kind} {reference!r} is not built in; to run this code, if you trust it: "
                f"fdan predict --allow-plugin {reference}, or Predictor(allow=[{reference!r}])"
            )

    return _apply_rule(require_permission)


def check_name(table: Table, name: str, kind: str) -> str:
    """Return `name` if the table holds it or it has the form `package.module:function`; else raise.

    No module is imported.
    """
    if name in table:
        return name
    if not _is_reference(name):
        raise ParameterError(
            f"unknown {kind} {one_line(repr(name))}; {suggest(name, table)}, or package.module:function"
        )
    module = name.partition(":")[0].partition(".")[0]
    if module in sys.stdlib_module_names:
        raise ParameterError(
            f"{kind} {name!r}: {module} is a module of Python, which holds no {kind}; "
            f"name your own code, or an installed package's (a file of that name in {PLUGINS}/ needs another name)"
        )
    if rule := _rule.get():
        rule(name, kind)
    return name


def lookup(table: Table, name: str, kind: str) -> Callable[..., Any]:
    """Return the builder that `name` stands for; raise if there is none."""
    check_name(table, name, kind)
    return table[name] if name in table else _import(name, kind)


def _is_reference(name: str) -> bool:
    module, _, attribute = name.partition(":")
    return len(name) <= LONGEST_REFERENCE and all(part.isidentifier() for part in (*module.split("."), attribute))


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
