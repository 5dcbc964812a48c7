"""Reading `params.yaml`, where each section has a pydantic model next to the code that uses it; reading an argument."""

import sys
from collections.abc import Collection, Iterable, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.base.errors import ParameterError
from pipeline.base.files import read_file
from pipeline.base.registry import allow_only, refuse_loose_files, suggest
from pipeline.base.text import one_line, printable

T = TypeVar("T")
PROBLEMS_SHOWN = 6
PARAMS_FILE = Path("params.yaml")
MAX_BYTES, MAX_DEPTH, MAX_VALUES = 10_000_000, 50, 1_000_000  # of params.yaml, with every alias written out
Seed = Annotated[int, Field(ge=0, le=(1 << 32) - 1)]
"""The seed of a random generator."""
_short = Repr()
_short.maxstring = _short.maxlong = _short.maxother = 200


class Config(BaseModel):
    """A section of `params.yaml`: immutable and hashable; unknown keys, infinities and NaN are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


SECTIONS = (
    "render",
    "corpora",
    "manifest",
    "faces",
    "spectrograms",
    "embed_faces",
    "embed_mels",
    "head",
    "alignment",
    "train",
    "protocols",
    "ablations",
    "run",
)


def read_params(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """Return all sections after checking their names; `read_section` checks their contents."""
    fix = "run this command from the root of the repository"
    content = read_file(path, raises=ParameterError, fix=fix, max_bytes=MAX_BYTES)
    params = deepcopy(_parse_once(content, where=str(path)))
    if not isinstance(params, dict):
        raise ParameterError(f"{path} contains no sections")
    for name in params:
        if name not in SECTIONS:
            hint = suggest(name if isinstance(name, str) else "", SECTIONS)
            raise ParameterError(f"{path}: unknown section {quote(name)}; {hint}")
    return params


def parse_yaml(text: str | bytes, *, where: str) -> Any:
    """Return the value of a YAML text; raise a one-line `ParameterError` that starts with `where` if there is none."""
    try:
        # Like DVC, read YAML 1.2, in which 1e-3 is a number; but not in C, where deep nesting ends the process.
        value = YAML(typ="safe", pure=True).load(text)
        _count_values(value, {}, depth=0)
    except YAMLError as error:
        raise ParameterError(f"{where} is not valid YAML: {printable(' '.join(str(error).split()))}") from error
    except (ValueError, OverflowError) as error:  # of a number or a date
        raise ParameterError(f"{where} is not valid YAML: {printable(str(error))}") from error
    except RecursionError:
        raise ParameterError(f"{where} has more than {MAX_DEPTH} levels; use fewer") from None
    return value


_parse_once = lru_cache(maxsize=2)(parse_yaml)  # a command reads ten sections, and parsing takes most of the time


def _count_values(value: Any, known: dict[int, int], *, depth: int) -> int:
    """Return the number of values with every alias written out; `known` contains that of collections, by their id.

    Raise if they are too many: whoever writes the values out, as a report does, would fill the memory.
    """
    if depth > MAX_DEPTH:
        raise RecursionError
    if not isinstance(value, dict | list | tuple | set):
        return 1
    if id(value) not in known:
        known[id(value)] = MAX_VALUES  # if the collection contains itself
        items = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count_values(item, known, depth=depth + 1) for item in items)
    if known[id(value)] > MAX_VALUES:
        raise ValueError(f"its aliases stand for more than {MAX_VALUES} values")
    return known[id(value)]


def quote(value: Any) -> str:
    """Return a value for a message, shortened."""
    try:
        return _short.repr(value)
    except ValueError:  # of an integer with thousands of digits
        return f"a huge {type(value).__name__}"


def read_section(name: str, model: type[T], *, path: Path = PARAMS_FILE) -> T:
    """Return one section as `model`, which is a `Config` or a container such as `dict[str, Config]`."""
    params = read_params(path)
    if name not in params:
        raise ParameterError(f"{path}: the section {name!r} is missing; add it")
    return check(params[name], model, where=f"{path}: {name}")


def check(values: Any, model: type[T], *, where: str, allow: Collection[str] | None = None) -> T:
    """Return `values` as `model`; raise a one-line `ParameterError` that starts with `where` and lists valid keys.

    DVC must track the plugins that the values name. With `allow`, the values come from a file that others may have
    made, and may name these plugins only.
    """
    with refuse_loose_files() if allow is None else allow_only(allow):
        return check_nested(values, model, where=where)


def check_nested(values: Any, model: type[T], *, where: str) -> T:
    """Return `values` as `model` like `check`, inside one: the rule for plugins that it has set stays."""
    try:
        return TypeAdapter(model).validate_python(values)
    except ValidationError as error:
        details = error.errors()
        problems = [_explain(detail, model, where) for detail in details[:PROBLEMS_SHOWN]]
        if len(details) > PROBLEMS_SHOWN:
            problems.append(f"and {len(details) - PROBLEMS_SHOWN} more problems")
        raise ParameterError("; ".join(problems)) from error


def _explain(detail: ErrorDetails, model: Any, where: str) -> str:
    path, keys = _follow(model, detail["loc"])
    name = ".".join([where, *map(one_line, path)])
    if detail["type"] == "extra_forbidden":
        return f"{name}: unknown key; {suggest(path[-1], keys)}"
    if detail["type"] == "missing":
        return f"{name} is missing"
    return f"{name} = {quote(detail['input'])}: {detail['msg'].removeprefix('Value error, ')}"


def _follow(model: Any, location: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """Return the location of an error as a path of keys in the file, and the keys that are valid at its end.

    If `kind` selects the member of a union, pydantic inserts the kind into the location; it is not a key in the file.
    """
    path: list[str] = []
    keys: list[str] = []
    for part in location:
        if get_origin(model) is Annotated:
            members = get_args(get_args(model)[0])
            member = next((it for it in members if part in get_args(it.model_fields["kind"].annotation)), None)
            if member is not None:
                model = member
                continue
        path.append(str(part))
        if isinstance(model, type) and issubclass(model, BaseModel):
            keys = list(model.model_fields)
            model = model.model_fields[str(part)].annotation if part in model.model_fields else None
        else:
            model = next((it for it in reversed(get_args(model)) if it is not ...), None)
    return path, keys


def read_argument(valid: Iterable[str]) -> str:
    """Return the one argument of the command line; raise ParameterError if it is not one of the valid names."""
    names = list(valid)
    if sys.argv[1:] not in [[name] for name in names]:
        given = " ".join(sys.argv[1:])
        raise ParameterError(f"this stage takes one name, not {given!r}; {suggest(given, names)}")
    return sys.argv[1]
