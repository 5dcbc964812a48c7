"""A small corpus in which stages run in this process."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from workspace import SMALL, merge

from pipeline.base.provenance import ROOT

LITTLE: dict[str, Any] = {
    **SMALL,
    "render": {"sample": {"speakers": 4, "utterances": 1}},
    "embed_faces": {"size_px": 32, "backbone": "resnet18"},
    "embed_mels": {"size_px": 32, "backbone": "resnet18"},
    "protocols": {"random": {"folds": 2, "validation": 0.2}},
    "train": {"epochs": 1, "ensemble": 1},
    "run": {"scheduler": "synchronous"},
}
OWN_FACES = "from pipeline.faces.detectors import cascade\n\ndef build(config):\n    return cascade(config)\n"


class Project:
    """The current folder, with parameters, a plugin, and a memo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.params = YAML(typ="safe").load(ROOT / "params.yaml")
        merge(self.params, LITTLE)
        del self.params["protocols"]["speaker_folds"]

    def write(self, **sections: Any) -> None:
        """Write params.yaml with some sections changed."""
        params = json.loads(json.dumps(self.params))  # a copy, in which sections share nothing
        merge(params, sections)
        (self.folder / "params.yaml").write_text(json.dumps(params))  # JSON is YAML and keeps the order

    def stage(self, name: str, *arguments: str) -> None:
        """Run a stage here."""
        argv, sys.argv = sys.argv, [name, *arguments]
        try:
            importlib.import_module(f"stages.{name}").main()
        finally:
            sys.argv = argv

    def entries(self) -> dict[str, set[str]]:
        """Return the keys in the memo by step."""
        entries: dict[str, set[str]] = {}
        for path in (self.folder / ".memo/memo").glob("*/*/*.entry"):
            entries.setdefault(path.parts[-3], set()).add(path.name)
        return entries

    def files(self) -> dict[str, tuple[int, int]]:
        """Return the size and the time of every file here."""
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}
