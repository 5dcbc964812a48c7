"""Extract embeddings for the rows of `ablations` that change faces, spectrograms or backbones."""

from pipeline.base.params import read_section
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.embedding_files import EmbeddingFiles
from pipeline.variants.index import write_index
from pipeline.variants.rows import needs_extraction, read_ablations
from stages import run_stage


def main() -> None:
    """Write `data/variants/`: a file for each distinct set of settings and step, and `rows.json`."""
    rows = read_ablations()
    files = dict.fromkeys(rows, EmbeddingFiles())
    if needs_extraction(rows):
        from pipeline.variants.extraction import plan_rows, stage_shelf

        plan = plan_rows(rows, read_section("run", ExecutionConfig), stage_shelf)
        plan.extract()
        files = plan.files
    write_index(rows, files)


if __name__ == "__main__":
    run_stage(main)
