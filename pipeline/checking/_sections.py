"""Sections of `params.yaml` as a check changes them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pipeline.base.params import PARAMS_FILE, Config, check, read_params
from pipeline.checking.arguments import Request

ConfigType = TypeVar("ConfigType", bound=Config)
ITS_OWN = {"faces": {"boxes", "options", "weights"}}  # keys whose values are for one detector


def read_configs(request: Request, model: type[ConfigType]) -> tuple[ConfigType, ConfigType]:
    """Return the section with the changes, and the one to compare with: that of `params.yaml`.

    If the file names this very part, it is compared with the default of the section.
    """
    section = read_params().get(request.part.section) or {}
    current = check(section, model, where=f"{PARAMS_FILE}: {request.part.section}")
    rest = forget_part(section, request)
    mine = check(change(section, request), model, where=request.section)
    is_same = section.get(request.part.key) == request.name
    return mine, check(rest, model, where=request.section) if is_same else current


def change(section: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return the section with the changes; what is in it for another part is left out."""
    is_same = section.get(request.part.key) == request.name
    base = dict(section) if is_same else forget_part(section, request)
    merged = {**base, **request.changes}
    if isinstance(base.get("options"), dict) and isinstance(request.changes.get("options"), dict):
        merged["options"] = {**base["options"], **request.changes["options"]}
    return merged


def forget_part(section: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return the section without the name of the part, and without keys that are for this part only."""
    gone = {request.part.key} | ITS_OWN.get(request.part.section, {"options"})
    return {key: value for key, value in section.items() if key not in gone}
