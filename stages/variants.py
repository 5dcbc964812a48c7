"""Extract embeddings for the rows of `ablations` that change faces, spectrograms or backbones."""

from pipeline.base.params import read_section
from pipeline.parallel.pool import ExecutionConfig
from pipeline.variants.extraction import plan_variants, stage_shelf
from pipeline.variants.index import write_index
from pipeline.variants.rows import read_ablations
from pipeline.variants.settings import override_settings, read_settings
from stages import run_stage


def main() -> None:
    """Write `data/variants/`: a file for each distinct set of settings and step, and `rows.json`."""
    rows, base = read_ablations(), read_settings()
    settings = {row: override_settings(base, overrides, row=row) for row, overrides in rows.items()}
    plan = plan_variants(settings, base, read_section("run", ExecutionConfig), stage_shelf)
    for task in plan.tasks:
        task.write()
    write_index(rows, plan.files)


if __name__ == "__main__":
    run_stage(main)
