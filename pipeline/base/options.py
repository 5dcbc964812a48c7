"""Parameters of a plugin's own: the key `options` of the section that names its builder.

A builder can name a pydantic model for its options with `takes_options`. Without one, a plugin gets them as an
immutable mapping; an entry of a table, such as the head `fdan`, takes no options then.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, PlainSerializer, SerializerFunctionWrapHandler, model_serializer

from pipeline.base.errors import ParameterError
from pipeline.base.params import Config, check_nested, quote
from pipeline.base.provenance import canonical
from pipeline.base.registry import Table, lookup

BuilderType = TypeVar("BuilderType", bound=Callable[..., Any])
ConfigType = TypeVar("ConfigType", bound="OptionsConfig")
MAX_DEPTH = 10  # of mappings and lists in each other
LARGEST_INTEGER = 2**63 - 1


class FrozenMapping(Mapping[str, Any]):
    """An immutable, hashable mapping of JSON values; lists in it are tuples, and mappings are frozen, too.

    Mappings are equal if their JSON is: 1, 1.0 and true differ.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Copy the values; raise ValueError if one is not a JSON value."""
        self._values = _freeze_items(values, MAX_DEPTH)

    def __getitem__(self, key: str) -> Any:
        """Return a value; a missing key raises KeyError."""
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        """Compare as JSON."""
        return isinstance(other, Mapping) and canonical(thaw(self)) == canonical(thaw(other))

    def __hash__(self) -> int:
        """Return a hash of the JSON."""
        return hash(canonical(thaw(self)))

    def __repr__(self) -> str:
        """Return the JSON, which is the same for every order of the keys."""
        return canonical(thaw(self))


def _freeze_items(values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    for key in values:
        if not isinstance(key, str):
            raise ValueError(f"the keys of options are text, not {quote(key)}; put it in quotes")
    return {_freeze(key, depth): _freeze(item, depth) for key, item in values.items()}


def _freeze(value: Any, depth: int) -> Any:
    """Return a JSON value without anything that can change: lists become tuples, mappings are frozen."""
    if depth < 0:
        raise ValueError(f"options may have {MAX_DEPTH} levels at most")
    if isinstance(value, FrozenMapping):
        return value
    if isinstance(value, Mapping):
        frozen = FrozenMapping({})
        frozen._values = _freeze_items(value, depth - 1)
        return frozen
    if isinstance(value, list | tuple):
        return tuple(_freeze(item, depth - 1) for item in value)
    is_number = isinstance(value, float) and math.isfinite(value)
    is_integer = isinstance(value, int) and abs(value) <= LARGEST_INTEGER  # a boolean is one
    is_text = isinstance(value, str) and value.encode(errors="replace").decode() == value  # without lone surrogates
    if value is None or is_number or is_integer or is_text:
        return value
    raise ValueError(
        f"{quote(value)} cannot be an option: use text, finite numbers, true, false, null, lists and mappings of them"
    )


def thaw(value: Any) -> Any:
    """Return the value with plain dicts and lists, for JSON; that of a model is its fields."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    return [thaw(item) for item in value] if isinstance(value, list | tuple) else value


def _read(value: Any) -> FrozenMapping:
    if not isinstance(value, Mapping):
        raise ValueError("write options as a mapping, such as {temperature: 2}")
    return FrozenMapping(value)


Options = Annotated[Any, BeforeValidator(_read), PlainSerializer(thaw)]
"""The options in a section: a `FrozenMapping`. A builder gets an instance of its model instead, if it names one."""
NO_OPTIONS = FrozenMapping({})


class OptionsConfig(Config):
    """A section with a field `options`, which is left out of the serialised section while it is empty.

    So the keys of the memo and the attributes of files that were made without options stay valid.
    """

    @model_serializer(mode="wrap")
    def _leave_out_empty_options(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialise(self)
        return {name: value for name, value in values.items() if name != "options" or value}


def takes_options(model: type[Config]) -> Callable[[BuilderType], BuilderType]:
    """Return a decorator for a builder that checks its options with `model`, and gives it an instance of the model.

    The builder, a function or a class, reads it as `config.options`.
    """
    if not (isinstance(model, type) and issubclass(model, Config)):
        raise ParameterError(f"takes_options({quote(model)}): give a subclass of fdan.Config")

    def decorate(builder: BuilderType) -> BuilderType:
        builder.options_model = model  # type: ignore[attr-defined]
        return builder

    return decorate


def options_model(builder: Callable[..., Any]) -> type[Config] | None:
    """Return the model that the builder names for its options, if any."""
    while isinstance(builder, partial) and not hasattr(builder, "options_model"):
        builder = builder.func
    model: type[Config] | None = getattr(builder, "options_model", None)
    return model


def check_options(options: FrozenMapping, table: Table, name: str | None, kind: str) -> FrozenMapping:
    """Return the options, converted by the model of the builder `name`; raise ParameterError if they do not fit.

    Nothing is imported for empty options, nor if there is no name because it is not valid.
    """
    if not options or name is None:
        return options
    model = options_model(lookup(table, name, kind))
    if model is None:
        if name in table:
            raise ParameterError(f"{kind} {name!r} takes no options; remove them")
        return options
    checked = check_nested(thaw(options), model, where="options")
    return FrozenMapping(checked.model_dump(mode="json", exclude_unset=True))


def with_options_model(config: ConfigType, builder: Callable[..., Any], *, part: str) -> ConfigType:
    """Return the configuration that the builder gets: its options are an instance of the model that it names, if any.

    `part` names the builder in the message of the ParameterError that invalid options raise.
    """
    model = options_model(builder)
    if model is None:
        return config
    values = thaw(getattr(config, "options", NO_OPTIONS))
    return config.model_copy(update={"options": check_nested(values, model, where=f"{part}: options")})
