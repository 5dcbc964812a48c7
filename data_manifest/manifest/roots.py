"""The root folders of the corpora."""

from pathlib import Path

from pydantic import BaseModel

from pipeline.base.params import read_section


class CorpusRoot(BaseModel):
    """The part of an entry of the section `corpora` that is needed to open its media."""

    root: Path
    follow_links: bool = False


def corpus_roots() -> dict[str, CorpusRoot]:
    """Return the root of each corpus from `params.yaml`."""
    return read_section("corpora", dict[str, CorpusRoot])
