"""Where a user's code comes from: the folder `plugins/`, which DVC tracks, or an installed package."""

import importlib.util
import json
import sys
from functools import cache
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from pipeline.base.errors import ParameterError
from pipeline.base.provenance import PROJECT, distributions_by_package

PLUGINS = Path("plugins")  # in the current folder, next to params.yaml


def search_plugins() -> None:
    """Make Python look for modules in `plugins/` first."""
    folder = str(PLUGINS.absolute())
    if PLUGINS.is_dir() and sys.path[:1] != [folder]:
        sys.path.insert(0, folder)


def find_origin(reference: str) -> str:
    """Return what `package.module:function` belongs to, in words; an empty string if Python cannot find it.

    No module is imported. Raise if the module is a loose file or folder, because DVC would not track it.
    """
    name = reference.partition(":")[0].partition(".")[0]
    if name in PROJECT:
        return "fdan"
    path = _find(name)
    if path and path.parent.resolve() == PLUGINS.resolve():
        return (PLUGINS / path.name).as_posix()
    if name == PLUGINS.name:
        raise ParameterError(f"names start inside {PLUGINS}/; write {reference.removeprefix(f'{PLUGINS}.')!r}")
    if path is None:
        return ""
    distribution = _distribution_of(name, path)
    if distribution is None:
        raise ParameterError(
            f"{path.name} is in {path.parent}, which DVC does not track; "
            f"move it into {PLUGINS}/ or install it as a package"
        )
    return f"{distribution.name} {distribution.version}"


def find_owner(name: str) -> str:
    """Return what a top-level module of this name belongs to, in words; an empty string if the name is free.

    No module is imported.
    """
    if name in sys.stdlib_module_names:
        return "Python"
    if name in PROJECT or name == PLUGINS.name:
        return "fdan"
    path = _find(name)
    distribution = _distribution_of(name, path) if path else None
    return distribution.name if distribution else str(path or "")


def _find(name: str) -> Path | None:
    """Return the file of a top-level module, or the folder of a package."""
    search_plugins()
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # such as `__main__`
        return None
    spec = spec or PathFinder.find_spec(name, [str(Path.cwd())])  # console scripts do not search the current folder
    if spec is None:
        return None
    folders = [*(spec.submodule_search_locations or ())]
    return Path(folders[0]) if folders else Path(spec.origin) if spec.origin else None


@cache  # to read what is installed takes a second
def _distribution_of(name: str, path: Path) -> metadata.Distribution | None:
    """Return the installed distribution, editable or not, that a top-level module belongs to."""
    for owner in distributions_by_package(tuple(sys.path)).get(name, ()):
        distribution = metadata.distribution(owner)
        if any(path.resolve().is_relative_to(folder) for folder in _folders(distribution)):
            return distribution
    if not any(path.parent.resolve() in _folders_of_pth_files(Path(folder)) for folder in sys.path):
        return None  # without reading the file lists of all distributions, which takes a second
    return next((it for it in metadata.distributions() if path.parent.resolve() in _search_path(it)), None)


def _folders(distribution: metadata.Distribution) -> list[Path]:
    """Return where a distribution was installed, and its source folder if it is editable."""
    installed = Path(str(distribution.locate_file(""))).resolve()
    source = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not source.get("dir_info", {}).get("editable"):
        return [installed]
    return [installed, Path(url2pathname(urlparse(source["url"]).path)).resolve()]


def _search_path(distribution: metadata.Distribution) -> set[Path]:
    """Return the folders that an editable distribution adds to Python's search path with a .pth file."""
    if distribution.name == "fdan":  # whose folder may be the repository, in which users have loose files
        return set()
    files = [Path(str(it.locate())) for it in distribution.files or () if it.suffix == ".pth"]
    return set().union(*(_read_pth(file) for file in files if file.is_file()))


def _folders_of_pth_files(folder: Path) -> set[Path]:
    """Return the folders that the .pth files of an installation folder add to Python's search path."""
    return set().union(*(_read_pth(file) for file in folder.glob("*.pth")))


def _read_pth(file: Path) -> set[Path]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return {Path(line).resolve() for line in lines if line and not line.startswith("import")}
