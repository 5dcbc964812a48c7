"""Reading `params.yaml`: each section has a pydantic model, which is defined next to the code that uses it."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.base.errors import ParameterError
from pipeline.base.registry import refuse_loose_files, suggest

T = TypeVar("T")
PARAMS_FILE = Path("params.yaml")


class Config(BaseModel):
    """A section of `params.yaml`: immutable and hashable; unknown keys are errors."""

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
    """Return all sections after checking their names; `read_section` checks their contents."""
    try:
        # Like DVC, read YAML 1.2, in which 1e-3 is a number.
        params = YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ParameterError(f"{path} does not exist; run this command from the root of the repository") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}") from error
    except YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(params, dict):
        raise ParameterError(f"{path} contains no sections")
    for name in params:
        if name not in SECTIONS:
            raise ParameterError(f"{path}: unknown section {name!r}; {suggest(str(name), SECTIONS)}")
    return params


def read_section(name: str, model: type[T], *, path: Path = PARAMS_FILE) -> T:
    """Return one section as `model`, which is a `Config` or a container such as `dict[str, Config]`."""
    params = read_params(path)
    if name not in params:
        raise ParameterError(f"{path}: the section {name!r} is missing; add it")
    return check(params[name], model, where=f"{path}: {name}")


def check(values: Any, model: type[T], *, where: str, recorded: bool = False) -> T:
    """Return `values` as `model`; raise a one-line `ParameterError` that starts with `where` and lists valid keys.

    DVC must track the plugins that the values name, unless the values were `recorded` with a trained model.
    """
    try:
        with nullcontext() if recorded else refuse_loose_files():
            return TypeAdapter(model).validate_python(values)
    except ValidationError as error:
        problems = [_explain(detail, model, where) for detail in error.errors()]
        raise ParameterError("; ".join(problems)) from error


def _explain(detail: ErrorDetails, model: Any, where: str) -> str:
    path, keys = _follow(model, detail["loc"])
    name = ".".join([where, *path])
    if detail["type"] == "extra_forbidden":
        return f"{name}: unknown key; {suggest(path[-1], keys)}"
    if detail["type"] == "missing":
        return f"{name} is missing"
    return f"{name} = {detail['input']!r}: {detail['msg'].removeprefix('Value error, ')}"


def _follow(model: Any, location: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """Return the location of an error as a path of keys in the file, and the keys that are valid at its end.

    If `kind` selects the member of a union, pydantic inserts the kind into the location; it is not a key in the file.
    """
    path: list[str] = []
    keys: list[str] = []
    for part in location:
        if get_origin(model) is Annotated:
            model = next(
                it for it in get_args(get_args(model)[0]) if part in get_args(it.model_fields["kind"].annotation)
            )
            continue
        path.append(str(part))
        if isinstance(model, type) and issubclass(model, BaseModel):
            keys = list(model.model_fields)
            model = model.model_fields[str(part)].annotation if part in model.model_fields else None
        else:
            model = next((it for it in reversed(get_args(model)) if it is not ...), None)
    return path, keys
