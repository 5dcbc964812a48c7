"""The snippets of README and docs: fenced blocks, and commands within the text."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.provenance import ROOT

PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples/README.md",
    ROOT / "plugins/README.md",
)
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PROGRAMS = "dask|dvc|fdan|make|mkdocs|pip|pytest|python"
COMMAND = re.compile(rf"`((?:\.venv/bin/)?(?:{PROGRAMS})\s[^`]+)`")
LANGUAGES = {"": "shell", "python": "python", "yaml": "yaml", "text": "text", "mermaid": "text"}  # text is not run


@dataclass(frozen=True)
class Snippet:
    """A snippet and its position."""

    page: str
    line: int
    kind: str
    text: str

    @property
    def file(self) -> str:
        """The name of the plugin that a block of Python is, if it begins with `# name.py`; else empty."""
        match = re.match(r"# (\w+)\.py\n", self.text)
        return f"{match[1]}.py" if match else ""

    @property
    def commands(self) -> list[str]:
        """The commands of a block, without comments and without the path of the environment."""
        lines = [line.partition(" #")[0].strip().removeprefix(".venv/bin/") for line in self.text.splitlines()]
        return [" ".join(line.split()) for line in lines if line]


def read_snippets() -> list[Snippet]:
    """Return all snippets, each once. A command in the text is left out if a block contains it."""
    snippets: dict[tuple[str, ...], Snippet] = {}
    for page in PAGES:
        for snippet in _of_page(page):
            key = snippet.commands if snippet.kind == "shell" else [snippet.text]
            snippets.setdefault((snippet.kind, *key), snippet)
    blocks = [it.commands for it in snippets.values() if it.kind == "shell" and len(it.commands) > 1]
    known = {command for commands in blocks for command in commands if not changes_parameters(commands)}
    return [it for it in snippets.values() if it.kind != "shell" or it.commands[1:] or it.commands[0] not in known]


def changes_parameters(commands: list[str]) -> bool:
    """Return whether a block configures another corpus, so that its commands do something else than elsewhere."""
    return any(command.startswith("fdan configure") for command in commands)


def _of_page(page: Path) -> Iterator[Snippet]:
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    for match in FENCE.finditer(text):
        assert match[2] in LANGUAGES, f"{name}: no test runs a block of {match[2]!r}; use {[*LANGUAGES]}"
        yield Snippet(name, _line(text, match), LANGUAGES[match[2]], textwrap.dedent(match[3]))
    rest = FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    assert "```" not in rest, f"{name}: a block is not closed"
    for match in COMMAND.finditer(rest):
        yield Snippet(name, _line(rest, match), "shell", match[1].replace("\n", " "))


def _line(text: str, match: re.Match[str]) -> int:
    return 1 + text.count("\n", 0, match.start())
