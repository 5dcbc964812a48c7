"""Bokeh figures as parts of a page: Bokeh's scripts, and each figure as JSON with reproducible ids."""

from collections.abc import Mapping
from itertools import count
from typing import Any

from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models.ui import UIElement
from bokeh.resources import Resources


def bokeh_scripts() -> list[str]:
    """Return the scripts of Bokeh that the figures need."""
    return Resources(mode="inline", components=["bokeh", "bokeh-widgets"]).js_raw


def json_items(figures: Mapping[str, UIElement]) -> dict[str, Any]:
    """Return the arguments of `Bokeh.embed.embed_item` by the id of the HTML element."""
    numbers = count(1)
    return {target: _numbered(json_item(model, ID(target)), numbers) for target, model in figures.items()}


def _numbered(item: Any, numbers: "count[int]") -> Any:
    """Return an item whose models are numbered in order: Bokeh's numbers depend on the process's earlier figures."""
    names: dict[str, str] = {}

    def renamed(value: Any) -> Any:
        if isinstance(value, Mapping):
            entries = {key: renamed(entry) for key, entry in value.items()}
            if isinstance(value.get("id"), str):
                if value["id"] not in names:
                    names[value["id"]] = f"m{next(numbers)}"
                entries["id"] = names[value["id"]]
            return entries
        return [renamed(entry) for entry in value] if isinstance(value, list | tuple) else value

    item = dict(item)
    item["doc"] = renamed(item["doc"])
    return item | {"root_id": names[item["root_id"]]}
