"""The media files that the arguments of `fdan predict` stand for; without torch, so that a typo costs no second."""

import os
from collections.abc import Sequence
from pathlib import Path

from data_manifest.corpora.contract import MEDIA_SUFFIXES, file_suffix, walk_media
from pipeline.base.errors import ParameterError


def list_media(names: Sequence[str]) -> list[Path]:
    """Return the files that file names, folders and patterns stand for, each once; folders and patterns sorted.

    The name of a file is one, even if it looks like a pattern. Raise ParameterError if a name stands for no file.
    """
    files: list[Path] = []
    for name in names:
        path = Path(name)
        if os.path.isdir(name):  # noqa: PTH112 - Path.is_dir raises for a long name
            matches = [path / file for file, _ in walk_media(path) if file_suffix(file) in MEDIA_SUFFIXES]
            if not matches:
                raise ParameterError(f"{name}: this folder holds no media file")
        else:
            matches = [path] if os.path.lexists(name) else _match(path)
            if not matches:
                raise ParameterError(f"{name}: no such file")
        files += sorted(matches)
    return list(dict.fromkeys(files))


def _match(pattern: Path) -> list[Path]:
    if not pattern.name:
        return []
    try:
        return [it for it in Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))) if it.is_file()]
    except (OSError, ValueError):  # a name that is too long, or that is no pattern either
        return []
