"""The arguments of `fdan check`: `section.key=value`, as in `params.yaml`. Reading them imports no part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.base.errors import ParameterError
from pipeline.base.params import parse_yaml, quote, read_params
from pipeline.base.plugins import find_origin
from pipeline.base.registry import check_name, refuse_loose_files, suggest
from pipeline.checking.parts import ADAPTER, PARTS, Part


@dataclass(frozen=True)
class Request:
    """What `fdan check` is asked for: a part, its name, and other keys of its section."""

    part: Part
    name: str  # of a table, or `package.module:function`
    changes: Mapping[str, Any]  # of the section, with the name; nested as in `params.yaml`
    corpus: str = ""  # of an adapter

    @property
    def section(self) -> str:
        """The path of the section, such as `faces` or `corpora.sample`."""
        return f"{self.part.section}.{self.corpus}" if self.corpus else self.part.section

    @property
    def key(self) -> str:
        """The path of the name, such as `faces.detector`."""
        return f"{self.section}.{self.part.key}"


def parse_request(arguments: Sequence[str]) -> Request:
    """Return what the arguments ask for; raise ParameterError if they name no part, several, or one that is no plugin.

    The first one names the part, and others may set more keys of its section.
    """
    if not arguments:
        raise ParameterError("name a part, such as faces.detector=my_detector:build")
    for argument in arguments:
        if "=" not in argument:
            raise ParameterError(f"{quote(argument)}: write it as section.key=value")
    first, _, name = arguments[0].partition("=")
    part, corpus = _find_part(first)
    request = Request(part, name, {}, corpus)
    changes: dict[str, Any] = {}
    for argument in arguments[1:]:
        path, _, text = argument.partition("=")
        key = path.removeprefix(f"{request.section}.")
        if key == path or not key:
            raise ParameterError(f"{path}: a check of {request.key} takes other keys of {request.section} only")
        _put(changes, key.split("."), parse_yaml(text, where=f"{argument}: the value"), path)
    _check_reference(request)
    return Request(part, name, changes | {part.key: name}, corpus)


def _find_part(path: str) -> tuple[Part, str]:
    """Return the part of a key, and the name of the corpus if it is an adapter."""
    section, _, rest = path.partition(".")
    if section == ADAPTER.section:
        corpus, _, key = rest.rpartition(".")
        if corpus and key == ADAPTER.key:
            return ADAPTER, corpus
    for part in PARTS:
        if path == f"{part.section}.{part.key}" and part is not ADAPTER:
            return part, ""
    corpora = read_params().get("corpora")
    names = [it for it in corpora if isinstance(it, str)] if isinstance(corpora, dict) else []
    keys = [f"{it.section}.{it.key}" for it in PARTS if it is not ADAPTER]
    keys += [f"{ADAPTER.section}.{it}.{ADAPTER.key}" for it in names or ["NAME"]]
    raise ParameterError(f"{quote(path)} names no part; {suggest(path, keys)}")


def _check_reference(request: Request) -> None:
    """Raise ParameterError for code that DVC does not track, or that Python does not find; a table has other names."""
    if ":" not in request.name:
        return
    with refuse_loose_files():
        check_name({}, request.name, request.part.kind)
    if not find_origin(request.name):
        module = request.name.partition(":")[0].partition(".")[0]
        raise ParameterError(
            f"{request.key}: no module {module!r} in plugins/, nor in an installed package; "
            f"to begin one: fdan new {request.part.kind.split()[-1]} {module}"
        )


def _put(values: dict[str, Any], path: Sequence[str], value: Any, argument: str) -> None:
    """Set a nested key; a key that is set twice, or is a value and a mapping, is an error."""
    for name in path[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ParameterError(f"{argument}: its mapping was set to a value before")
    if path[-1] in values:
        raise ParameterError(f"{argument} is set twice")
    values[path[-1]] = value
