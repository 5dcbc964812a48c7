"""What made a result: versions of code and libraries, and a fingerprint of everything that shapes it."""

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = "fdan"  # the package that re-exports what users import
PROJECT = ("data_manifest", PUBLIC, "pipeline", "stages")
RANDOM_WEIGHTS = "random backbone weights: the results show that the pipeline works, and nothing about emotion"


def canonical(value: Any) -> str:
    """Return canonical JSON: sorted keys, no white space, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the sha256 of a JSON-like value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed versions of the distributions that a result depends on."""
    return {name: metadata.version(name) for name in names}


def plugin_distributions(plugin: Callable[..., Any] | None) -> list[str]:
    """Return the installed distributions that a plugin belongs to or imports; none for the project's own code."""
    if plugin is None:
        return []
    module = _defining_module(plugin)
    if module.partition(".")[0] in PROJECT:
        return []
    sources = {name: path for name, path in source_files(module).items() if name.partition(".")[0] not in PROJECT}
    imported = {target for name, path in sources.items() for target in _imports(name, path)}
    packages = {name.partition(".")[0] for name in {module, *imported}}
    by_package = distributions_by_package(tuple(sys.path))
    return sorted({distribution for name in packages for distribution in by_package.get(name, ())})


@cache  # reading what is installed takes a second
def distributions_by_package(search_path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Return the names of the distributions that each top-level package on Python's search path belongs to."""
    return metadata.packages_distributions()


@cache
def source_files(module: str) -> dict[str, Path]:
    """Return the source files, by module name, of `module` and its imports from the project or the same folder.

    The search is transitive. It parses import statements, also those inside functions, and runs no module; only
    the `__init__.py` of parent packages is executed.
    """
    files: dict[str, Path] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        path = _module_file(name)
        if path is None or name in files:
            continue
        files[name] = path
        queue += [target for target in _imports(name, path) if _is_local(target, module)]
    return files


@cache  # a cluster's worker keeps running the code that it has imported, even if the files are edited
def code_version(function: Callable[..., Any]) -> str:
    """Return the sha256 of the code of the function's module and its imports.

    Comments, docstrings and layout do not count: rewording a comment must not cost a night of extraction.
    """
    files = source_files(_defining_module(function))
    return digest([_read_code(files[name].read_bytes()).sha256 for name in sorted(files)])  # folders differ by machine


def _defining_module(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):  # a partial's `__module__` is functools
        function = function.func
    return function.__module__


def fingerprint(ingredients: Mapping[str, Any]) -> str:
    """Return a short digest of the ingredients; it changes if any of them changes."""
    return digest(ingredients)[:16]


def _is_local(imported: str, module: str) -> bool:
    """Return whether `imported` is part of the project, or in the folder of `module` and not an installed library."""
    package, importer = imported.partition(".")[0], module.partition(".")[0]
    folder = _source_folder(importer)
    return package in (*PROJECT, importer) or (folder is not None and _source_folder(package) == folder)


def _source_folder(package: str) -> Path | None:
    """Return the folder in which Python finds a top-level module, or None if it is installed there."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    folders = [*(spec.submodule_search_locations or ())]  # of a package, even one without __init__.py
    path = folders[0] if folders else spec.origin or ""
    folder = Path(path).parent
    return None if folder.name in ("", "site-packages", "dist-packages") else folder


def _module_file(name: str) -> Path | None:
    parent = name.rpartition(".")[0]
    parent_file = _module_file(parent) if parent else None
    if parent_file is not None and parent_file.name != "__init__.py":
        return None  # `name` is defined inside a module; `find_spec` would import that module
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _imports(name: str, path: Path) -> Iterator[str]:
    """Yield the names of all modules that the file may import; `from a import b` may import the module a.b."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    yield from _parents(name)
    for node in _read_code(path.read_bytes()).imports:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _public_modules(["*"]) if alias.name == PUBLIC else [alias.name]
        else:
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = [alias.name for alias in node.names]
            yield from _public_modules(names) if base == PUBLIC else [base, *(f"{base}.{it}" for it in names)]


def _public_modules(names: Collection[str]) -> set[str]:
    """Return the modules in which the public names are defined; any other name, such as `*`, stands for all of them.

    A plugin depends on what it imports by name, not on everything that is public.
    """
    path = _module_file(PUBLIC)
    imports = [it for it in _read_code(path.read_bytes()).imports if isinstance(it, ast.ImportFrom)] if path else []
    modules = {alias.name: node.module or "" for node in imports for alias in node.names}
    return {modules[it] for it in names} if modules.keys() >= set(names) else set(modules.values())


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


class _Code(NamedTuple):
    sha256: str  # of the syntax tree without docstrings, those of a class's fields too
    imports: list[ast.Import | ast.ImportFrom]


@lru_cache(maxsize=1024)  # the steps of a command share most files, and parsing takes milliseconds
def _read_code(source: bytes) -> _Code:
    tree = ast.parse(source)
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        elif isinstance(node, ast.ClassDef):
            node.body = [it for it in node.body if not _is_text(it)]
        elif isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) and _is_text(*node.body[:1]):
            node.body = node.body[1:]
    return _Code(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports)


def _is_text(node: ast.AST | None = None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
