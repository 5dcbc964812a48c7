"""The root folders of the corpora."""

from pathlib import Path

from pydantic import BaseModel

from pipeline.base.params import read_section


class CorpusRoot(BaseModel):
    """The part of an entry of the section `corpora` that is needed to open its media."""

    root: str


def corpus_roots() -> dict[str, Path]:
    """Return the root folder of each corpus from `params.yaml`."""
    return {name: Path(entry.root) for name, entry in read_section("corpora", dict[str, CorpusRoot]).items()}
