"""Where the media of each corpus lie."""

from pathlib import Path

from pydantic import BaseModel

from pipeline.base.params import read_section


class CorpusRoot(BaseModel):
    """Of an entry of the section `corpora` what is needed to open its media; adapters are not."""

    root: str


def corpus_roots() -> dict[str, Path]:
    """Return the folder of each corpus, as `params.yaml` says."""
    return {name: Path(entry.root) for name, entry in read_section("corpora", dict[str, CorpusRoot]).items()}
