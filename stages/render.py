"""Render the sample corpus: media files and a table with their labels."""

from functools import partial
from pathlib import Path

from data_manifest.sample import SampleConfig, plan, render
from pipeline.base.params import read_argument, read_section
from pipeline.base.tables import write_table
from pipeline.parallel.pool import ExecutionConfig, Pool, bounded_map
from stages import run_stage


def main() -> None:
    """Render `data/<name>`."""
    samples = read_section("render", dict[str, SampleConfig])
    name = read_argument(samples)
    folder = Path("data") / name
    utterances = plan(samples[name])
    with Pool(read_section("run", ExecutionConfig)) as pool:
        start = partial(pool.submit, partial(render, folder=folder))
        for _, wait in bounded_map(utterances, start, workers=lambda: pool.workers):
            wait()
    rows = ([it.path, it.emotion, it.speaker, it.sentence] for it in utterances)
    write_table(folder / "clips.csv", ["path", "emotion", "speaker", "sentence"], rows)


if __name__ == "__main__":
    run_stage(main)
