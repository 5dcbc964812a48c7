"""Calling the builder that a name in `params.yaml` stands for, and checking what it returns."""

from typing import Any

from pipeline.base.errors import ParameterError
from pipeline.base.options import OptionsConfig, with_options_model
from pipeline.base.registry import Table, lookup


def build(table: Table, name: str, kind: str, *arguments: object, expected: Any) -> Any:
    """Return what the builder `name` makes of the arguments; `expected` is what `isinstance` accepts, such as a class.

    If the builder names a model for its options, a section among the arguments has an instance of it as `options`.
    Raise ParameterError if the builder does not take the arguments, or returns something else. An error that is raised
    by the builder's own code stays as it is.
    """
    builder = lookup(table, name, kind)
    part = f"{kind} {name!r}"
    given = [with_options_model(it, builder, part=part) if isinstance(it, OptionsConfig) else it for it in arguments]
    try:
        built = builder(*given)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:  # raised further down
            raise
        raise ParameterError(f"{part} is no builder: {error}") from error
    if not isinstance(built, expected):
        returned = type(built).__name__
        raise ParameterError(f"{part} is no builder: it returned {returned}, not {_names(expected)}")
    return built


def _names(expected: Any) -> str:
    kinds = expected if isinstance(expected, tuple) else (expected,)
    return " or ".join(kind.__name__ for kind in kinds)
