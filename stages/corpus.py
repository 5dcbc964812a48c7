"""Find, probe and label the clips of one corpus."""

import logging
from pathlib import Path

from data_manifest.corpora.adapters import CorpusConfig
from data_manifest.corpora.probing import probe_corpus, write_media_table
from data_manifest.manifest.clips import Clip, Exclusion, write_rows
from pipeline.base.params import read_argument, read_section
from pipeline.base.selection import count_noun
from pipeline.parallel.pool import ExecutionConfig
from stages import run_stage

log = logging.getLogger(__name__)


def main() -> None:
    """Write `data/corpora/<name>/clips.csv`, `exclusions.csv` and `media.csv`."""
    corpora = read_section("corpora", dict[str, CorpusConfig])
    name = read_argument(corpora)
    probed = probe_corpus(name, corpora[name], read_section("run", ExecutionConfig))
    folder = Path("data/corpora") / name
    write_rows(folder / "clips.csv", probed.clips, Clip)
    write_rows(folder / "exclusions.csv", probed.exclusions, Exclusion)
    write_media_table(folder / "media.csv", probed.media)
    for note in probed.notes:
        log.warning("%s", note)
    left_out = count_noun(len(probed.exclusions), "file")
    log.info("%s: %s, %s left out", name, count_noun(len(probed.clips), "clip"), left_out)


if __name__ == "__main__":
    run_stage(main)
