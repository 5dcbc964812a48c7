"""`data/variants/rows.json`: the embeddings of each row of the ablation table; the stage `ablate` reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline.base.errors import StoreError
from pipeline.evaluation.result_file import Result, ResultFile
from pipeline.store.embedding_files import EmbeddingFiles
from pipeline.variants.rows import EXTRACTION, Overrides, select_sections

VARIANTS = Path("data/variants")
INDEX = VARIANTS / "rows.json"


class RowEmbeddings(Result):
    """The embeddings of one row."""

    visual: Path
    acoustic: Path
    changes: dict[str, dict[str, Any]]  # what the row changes in the sections that shape tokens

    @property
    def files(self) -> EmbeddingFiles:
        """The paths of its embeddings."""
        return EmbeddingFiles(self.visual, self.acoustic)


class VariantIndex(ResultFile):
    """`data/variants/rows.json`: where the embeddings of each row are."""

    stage = "variants"
    schema_id: Literal["fdan.variants/1"] = Field("fdan.variants/1", alias="schema")
    rows: dict[str, RowEmbeddings]


def write_index(rows: Mapping[str, Overrides], files: Mapping[str, EmbeddingFiles]) -> None:
    """Write the index of rows whose embeddings are in these files."""
    entries = {
        row: RowEmbeddings(**files[row]._asdict(), changes=select_sections(overrides, EXTRACTION))
        for row, overrides in rows.items()
    }
    VariantIndex(rows=entries).write(INDEX)


def read_index(rows: Mapping[str, Overrides]) -> dict[str, EmbeddingFiles]:
    """Return the embeddings of the rows; raise if the index was made for other settings."""
    index = VariantIndex.read(INDEX)
    for row, overrides in rows.items():
        if row not in index.rows or index.rows[row].changes != select_sections(overrides, EXTRACTION):
            raise StoreError(f"{INDEX} was made for another row {row!r} than params.yaml has; run: dvc repro variants")
    return {row: index.rows[row].files for row in rows}
