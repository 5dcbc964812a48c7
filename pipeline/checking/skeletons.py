"""New plugins: copies of the examples under names of their own."""

from importlib import metadata
from keyword import iskeyword
from pathlib import Path

from pipeline.base.errors import ParameterError
from pipeline.base.files import read_file
from pipeline.base.params import PARAMS_FILE, quote, read_params
from pipeline.base.plugins import PLUGINS, find_owner
from pipeline.base.provenance import ROOT
from pipeline.base.registry import suggest
from pipeline.checking.parts import ADAPTER, EXAMPLES

INSTALLED = "share/fdan/examples"  # where a wheel puts the examples


def write_skeleton(word: str, name: str) -> Path:
    """Write `plugins/<name>.py`, a plugin that passes `fdan check`, and return its path.

    `word` is a key of `EXAMPLES`. Raise ParameterError if it is not, or if the name is not free; no file is replaced.
    """
    if word not in EXAMPLES:
        raise ParameterError(f"unknown part {quote(word)}; {suggest(word, EXAMPLES)}")
    _check_free(name)
    if not PARAMS_FILE.is_file():
        raise ParameterError(f"there is no {PARAMS_FILE} here; run this command from the root of the repository")
    example = EXAMPLES[word].example
    text = read_file(_example_file(word), raises=ParameterError, fix="install fdan again").decode()
    path = PLUGINS / f"{name}.py"
    PLUGINS.mkdir(exist_ok=True)
    with path.open("x", encoding="utf-8") as file:  # never replaces a file
        file.write(text.replace(f"{word}:{example}", f"{name}:{example}"))
    return path


def usage(word: str, name: str) -> tuple[str, str]:
    """Return the line of `params.yaml` that uses a new plugin, and what `fdan check` takes."""
    part = EXAMPLES[word]
    reference = f"{name}:{part.example}"
    if part is not ADAPTER:
        return f'{part.section}: {{{part.key}: "{reference}"}}', f"{part.section}.{part.key}={reference}"
    corpus = next(iter(read_params().get("corpora") or {}), "sample")
    return (
        f'corpora: {{{corpus}: {{adapter: "{reference}", root: FOLDER}}}}',
        f"corpora.{corpus}.adapter={reference}",
    )


def _check_free(name: str) -> None:
    """Raise ParameterError if a module cannot have this name, or if it would hide another module."""
    if not (name.isascii() and name.isidentifier()) or iskeyword(name):
        raise ParameterError(
            f"{quote(name)} is no name of a Python module; use letters, digits and _, such as my_detector"
        )
    for path in (PLUGINS / f"{name}.py", PLUGINS / name):
        if path.exists() or path.is_symlink():
            raise ParameterError(f"{path} exists, and is not replaced; take another name")
    if owner := find_owner(name):
        raise ParameterError(f"{PLUGINS}/{name}.py would hide a module of {owner}; take another name")


def _example_file(word: str) -> Path:
    """Return the example's file in the repository, or where a wheel has installed it."""
    path = ROOT / "examples" / f"{word}.py"
    installed = (it.locate() for it in metadata.files("fdan") or () if it.match(f"{INSTALLED}/{word}.py"))
    return path if path.is_file() else next((Path(str(it)) for it in installed), path)
