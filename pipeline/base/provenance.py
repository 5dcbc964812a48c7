"""What made a result: the code it ran, the libraries it stood on, and one fingerprint of it all."""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = "fdan"  # the package that re-exports what users import
PROJECT = ("data_manifest", PUBLIC, "pipeline", "stages")


def canonical(value: Any) -> str:
    """Return JSON in which equal values look equal: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the sha256 of a JSON-like value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed versions of the distributions that shape a result."""
    return {name: metadata.version(name) for name in names}


def plugin_distributions(plugin: Callable[..., Any] | None) -> list[str]:
    """Return the installed distributions that a user's plugin belongs to or imports; none for the project's code."""
    if plugin is None:
        return []
    module = _defined_in(plugin)
    if module.partition(".")[0] in PROJECT:
        return []
    own = {name: path for name, path in source_files(module).items() if name.partition(".")[0] not in PROJECT}
    imported = {used for name, path in own.items() for used in _imports(name, path)}
    used = {name.partition(".")[0] for name in {module, *imported}}
    by_package = metadata.packages_distributions()
    return sorted({distribution for name in used for distribution in by_package.get(name, ())})


@cache
def source_files(module: str) -> dict[str, Path]:
    """Return, by name, the files of `module` and of all that it imports, transitively, from the project or beside it.

    Imports are read from the source, those inside functions too; of what is found only packages are imported.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _module_file(name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting += [used for used in _imports(name, path) if _belongs(used, module)]
    return found


@cache  # a worker of a cluster outlives edits: it has what it has imported
def code_version(function: Callable[..., Any]) -> str:
    """Return a sha256 over what the function's module and its imports do.

    Comments, docstrings and layout do not count: rewording a comment must not cost a night of extraction.
    """
    total = hashlib.sha256()
    for _, path in sorted(source_files(_defined_in(function)).items()):  # wherever plugins and the project lie
        total.update(ast.dump(_without_docstrings(ast.parse(path.read_bytes()))).encode())
    return total.hexdigest()


def _defined_in(function: Callable[..., Any]) -> str:
    while isinstance(function, partial):  # whose own module is functools
        function = function.func
    return function.__module__


def fingerprint(ingredients: Mapping[str, Any]) -> str:
    """Return the short name of a set of ingredients: equal if and only if all of them are."""
    return digest(ingredients)[:16]


def _belongs(used: str, module: str) -> bool:
    """Return whether `used` is the project's, or lies where `module` lies, and not among installed libraries."""
    package, own = used.partition(".")[0], module.partition(".")[0]
    home = _home(own)
    return package in (*PROJECT, own) or (home is not None and _home(package) == home)


def _home(package: str) -> Path | None:
    """Return the folder in which Python finds a top-level module; None if it was installed there."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    folders = [*(spec.submodule_search_locations or ())]  # of a package, even one without __init__.py
    path = folders[0] if folders else spec.origin or ""
    folder = Path(path).parent
    return None if folder.name in ("", "site-packages", "dist-packages") else folder


def _module_file(name: str) -> Path | None:
    parent = name.rpartition(".")[0]
    around = _module_file(parent) if parent else None
    if around is not None and around.name != "__init__.py":
        return None  # a name inside a module: to ask for its file would be to import the module
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _imports(name: str, path: Path) -> Iterator[str]:
    """Yield every module that the file may import; `from a import b` may mean the module a.b."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    yield from _parents(name)
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _public_modules(["*"]) if alias.name == PUBLIC else [alias.name]
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = [alias.name for alias in node.names]
            yield from _public_modules(names) if base == PUBLIC else [base, *(f"{base}.{it}" for it in names)]


def _public_modules(names: Collection[str]) -> set[str]:
    """Return the modules in which the public names are defined; any other name, such as `*`, stands for all of them.

    A plugin depends on what it imports by name, not on everything that is public.
    """
    path = _module_file(PUBLIC)
    nodes = ast.walk(ast.parse(path.read_bytes())) if path else ()
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    modules = {alias.name: node.module or "" for node in imports for alias in node.names}
    return {modules[it] for it in names} if modules.keys() >= set(names) else set(modules.values())


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove docstrings, those of a class's fields too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [it for it in node.body if not _is_text(it)]
        elif isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) and _is_text(*node.body[:1]):
            node.body = node.body[1:]
    return tree


def _is_text(node: ast.AST | None = None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
