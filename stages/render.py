"""Render the sample corpus: media files and a table with their labels."""

import csv
import sys
from functools import partial
from pathlib import Path

from data_manifest.sample import SampleConfig, plan, render
from pipeline.base.files import atomic_write
from pipeline.base.params import read_section
from pipeline.parallel.pool import ExecutionConfig, Pool, bounded_map
from stages import run_stage


def main() -> None:
    """Render `data/<name>`."""
    name = sys.argv[1]
    config = read_section("render", dict[str, SampleConfig])[name]
    folder = Path("data") / name
    utterances = plan(config)
    with Pool(read_section("run", ExecutionConfig)) as pool:
        start = partial(pool.submit, partial(render, folder=folder))
        for _, wait in bounded_map(utterances, start, workers=lambda: pool.workers):
            wait()
    with atomic_write(folder / "clips.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "emotion", "speaker", "sentence"])
        table.writerows([it.path, it.emotion, it.speaker, it.sentence] for it in utterances)


if __name__ == "__main__":
    run_stage(main)
