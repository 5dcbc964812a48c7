"""Bokeh's figures as parts of a page: its scripts, and each figure as JSON, the same for the same figure."""

from collections.abc import Mapping
from itertools import count
from typing import Any

from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models.ui import UIElement
from bokeh.resources import Resources


def bokeh_scripts() -> list[str]:
    """Return those of Bokeh's own scripts that the figures need."""
    return Resources(mode="inline", components=["bokeh", "bokeh-widgets"]).js_raw


def json_items(figures: Mapping[str, UIElement]) -> dict[str, Any]:
    """Return what `Bokeh.embed.embed_item` takes, by the id of the element that the figure shall stand in."""
    numbers = count(1)
    return {target: _numbered(json_item(model, ID(target)), numbers) for target, model in figures.items()}


def _numbered(item: Any, numbers: "count[int]") -> Any:
    """Return an item whose models are numbered by their order: Bokeh's own numbers go on for the whole process."""
    names: dict[str, str] = {}

    def renamed(value: Any) -> Any:
        if isinstance(value, Mapping):
            known = {key: renamed(entry) for key, entry in value.items()}
            if isinstance(value.get("id"), str):
                if value["id"] not in names:
                    names[value["id"]] = f"m{next(numbers)}"
                known["id"] = names[value["id"]]
            return known
        return [renamed(entry) for entry in value] if isinstance(value, list | tuple) else value

    item = dict(item)
    item["doc"] = renamed(item["doc"])
    return item | {"root_id": names[item["root_id"]]}
