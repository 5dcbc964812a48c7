"""The rows of an ablation table and of a grid: the sections that each changes, checked without any heavy import."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, TypeVar

from pipeline.base.errors import ParameterError
from pipeline.base.params import Config, check, parse_yaml, read_section
from pipeline.base.registry import suggest

REFERENCE = "full"  # the row that changes nothing
EXTRACTION = ("faces", "spectrograms", "embed_faces", "embed_mels")  # sections that shape a clip's tokens
TRAINING = ("head", "alignment", "train")
CHANGEABLE = (*EXTRACTION, *TRAINING)  # in the order in which tables show them
OTHER_CLIPS = "it decides which clips there are and how they are labelled, so rows could not be compared"
BUILDER_KEYS = ("detector", "kind", "backbone", "name")  # of the sections that take options
REFUSED = {
    "render": OTHER_CLIPS,
    "corpora": OTHER_CLIPS,
    "manifest": OTHER_CLIPS,
    "protocols": "it divides the clips, so rows could not be compared",
    "ablations": "rows hold no rows",
    "run": "it changes no result",
}
Overrides = Mapping[str, Mapping[str, Any]]  # by section
Rows = dict[str, dict[str, dict[str, Any]]]  # by name
C = TypeVar("C", bound=Config)


def read_ablations() -> Rows:
    """Return the rows of the section `ablations`, checked and in the order of their sections; the reference is first.

    Keys and values are not checked: their models import the code that they belong to.
    """
    rows = read_section("ablations", Rows)
    for name, overrides in rows.items():
        check_sections(overrides, where=f"ablations.{name}")
    return order_rows(rows)


def check_sections(overrides: Overrides, *, where: str) -> None:
    """Raise if a row changes a section that rows cannot change."""
    for section in overrides:
        if section in REFUSED:
            raise ParameterError(f"{where}: a row cannot change {section}: {REFUSED[section]}")
        if section not in CHANGEABLE:
            raise ParameterError(f"{where}: unknown section {section!r}; {suggest(section, CHANGEABLE)}")


def order_rows(rows: Mapping[str, dict[str, dict[str, Any]]]) -> Rows:
    """Return the rows by section, otherwise in their order; the reference, which is added if it lacks, is first."""
    if rows.get(REFERENCE):
        raise ParameterError(f"ablations.{REFERENCE}: this row is the reference and changes nothing; rename it")
    places = {
        name: [place for place, it in enumerate(CHANGEABLE) if overrides.get(it)] for name, overrides in rows.items()
    }
    return {REFERENCE: {}} | {
        name: rows[name] for name in sorted(rows, key=lambda name: (name != REFERENCE, places[name]))
    }


def section_label(overrides: Overrides) -> str:
    """Return the sections that a row changes as text, such as `faces + head`; `reference` if there are none."""
    return " + ".join(section for section in CHANGEABLE if overrides.get(section)) or "reference"


def select_sections(overrides: Overrides, sections: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what a row changes in some sections, without those that it leaves as they are."""
    return {section: dict(overrides[section]) for section in sections if overrides.get(section)}


def needs_extraction(rows: Mapping[str, Overrides]) -> bool:
    """Return whether any row changes what shapes a clip's tokens; code that extracts takes seconds to import."""
    return any(select_sections(overrides, EXTRACTION) for overrides in rows.values())


def override_section(config: C, changes: Mapping[str, Any], *, where: str) -> C:
    """Return a section with some keys changed; a mapping, such as `options`, keeps the keys that the row leaves out.

    The options of another builder are not kept. An unknown key or value raises.
    """
    values = config.model_dump()
    if any(key in changes and changes[key] != values.get(key) for key in BUILDER_KEYS):
        values.pop("options", None)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(values.get(key), Mapping)
        values[key] = values[key] | value if nested else value
    return check(values, type(config), where=where)


def expand_grid(grid: Sequence[str]) -> Rows:
    """Return the rows of a grid such as head.width=128,256: every combination, named by the keys that it changes.

    Values are those of a YAML list without its brackets. A key can be in a mapping: head.options.temperature=1,2.
    """
    rows: Rows = {}
    for chosen in product(*map(_parse_axis, grid)):
        overrides: dict[str, dict[str, Any]] = {}
        for (section, *outer, key), value in chosen:
            changes = overrides.setdefault(section, {})
            for mapping in outer:
                changes = changes.setdefault(mapping, {})
            changes[key] = value
        rows[", ".join(f"{'.'.join(path)}={_as_text(value)}" for path, value in chosen)] = overrides
    return rows if grid else {}


def _parse_axis(text: str) -> list[tuple[list[str], Any]]:
    """Return the path of a key and each of its values."""
    match = re.fullmatch(r"(\w+(?:\.\w+){1,2})=(.+)", text.strip())
    if not match:
        raise ParameterError(f"--grid {text}: write it as section.key=value,value, as in head.width=128,256")
    path = match[1].split(".")
    check_sections({path[0]: {}}, where=f"--grid {text}")
    values = parse_yaml(f"[{match[2]}]", where=f"--grid {text}")
    if not isinstance(values, list) or not values or any(isinstance(it, dict) for it in values):
        raise ParameterError(f"--grid {text}: write the values as value,value, as in head.width=128,256")
    return [(path, value) for value in values]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
