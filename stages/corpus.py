"""Find, probe and label the clips of one corpus."""

import logging
import sys
from pathlib import Path

from data_manifest.corpora import CorpusConfig, find_clips
from data_manifest.manifest import Clip, Exclusion, write_rows
from pipeline.parallel import RunConfig
from pipeline.params import read_section
from stages import run

log = logging.getLogger(__name__)


def main() -> None:
    """Write `data/corpora/<name>/clips.csv` and `exclusions.csv`."""
    name = sys.argv[1]
    config = read_section("corpora", dict[str, CorpusConfig])[name]
    clips, exclusions, tally = find_clips(name, config, read_section("run", RunConfig))
    folder = Path("data/corpora") / name
    write_rows(folder / "clips.csv", clips, Clip)
    write_rows(folder / "exclusions.csv", exclusions, Exclusion)
    log.info("%s; %d clips, %d left out", tally, len(clips), len(exclusions))


if __name__ == "__main__":
    run(main)
