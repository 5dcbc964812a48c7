"""Reading `params.yaml`: each section is checked by the model that lives beside the code that it steers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import ParameterError
from pipeline.registry import suggestion

T = TypeVar("T")
PARAMS_FILE = Path("params.yaml")


class Config(BaseModel):
    """A section of `params.yaml`: immutable, hashable, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """Return the whole file, its section names checked; their contents are checked where they are used."""
    try:
        # DVC reads YAML 1.2, in which 1e-3 is a number, and so must we.
        params = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ParameterError(f"{path} is not here; run this from the repository's root") from None
    except YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(params, dict):
        raise ParameterError(f"{path} holds no sections")
    for name in params:
        if name not in SECTIONS:
            raise ParameterError(f"{path}: unknown section {name!r}; {suggestion(str(name), SECTIONS)}")
    return params


def read_section(name: str, model: type[T], *, path: Path = PARAMS_FILE) -> T:
    """Return one section as `model`: a `Config`, or a container of them such as `dict[str, Config]`."""
    params = read_params(path)
    if name not in params:
        raise ParameterError(f"{path}: the section {name!r} is missing")
    return check(params[name], model, where=f"{path}: {name}")


def check(values: Any, model: type[T], *, where: str) -> T:
    """Return `values` as `model`, or raise an error of one line that lists what would have been valid."""
    try:
        return TypeAdapter(model).validate_python(values)
    except ValidationError as error:
        problems = [_explain(detail, model, where) for detail in error.errors()]
        raise ParameterError("; ".join(problems)) from error


def _explain(detail: ErrorDetails, model: Any, where: str) -> str:
    path = detail["loc"]
    name = ".".join([where, *map(str, path)])
    if detail["type"] == "extra_forbidden":
        return f"{name}: unknown key; {suggestion(str(path[-1]), _keys(model, path[:-1]))}"
    return f"{name} = {detail['input']!r}: {detail['msg'].removeprefix('Value error, ')}"


def _keys(model: Any, path: Sequence[int | str]) -> list[str]:
    """Return the keys of the model that lies at `path` inside `model`."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        candidates = [found for argument in get_args(model) for found in _keys(argument, path[1:])]
        return candidates
    if not path:
        return list(model.model_fields)
    return _keys(model.model_fields[str(path[0])].annotation, path[1:])
