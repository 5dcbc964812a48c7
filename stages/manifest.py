"""Combine all corpora in one manifest."""

import logging
from pathlib import Path

from data_manifest.manifest.clips import (
    EXCLUSIONS,
    MANIFEST,
    Clip,
    Exclusion,
    ManifestConfig,
    build_manifest,
    read_rows,
    write_rows,
)
from data_manifest.manifest.media_table import Silence, media_notes, media_reason, read_media_table
from data_manifest.manifest.roots import corpus_roots
from data_manifest.manifest.weights import fetch_weights
from pipeline.base.params import read_section
from pipeline.base.selection import count_noun
from stages import run_stage

log = logging.getLogger(__name__)


def main() -> None:
    """Write `data/manifest.csv` and `data/exclusions.csv`, and fetch the weights that the next stages need."""
    folders = {name: Path("data/corpora") / name for name in sorted(corpus_roots())}
    clips = [clip for folder in folders.values() for clip in read_rows(folder / "clips.csv", Clip)]
    exclusions = [row for folder in folders.values() for row in read_rows(folder / "exclusions.csv", Exclusion)]
    media = {name: read_media_table(folder / "media.csv") for name, folder in folders.items()}
    config = read_section("manifest", ManifestConfig)
    silence_dbfs = read_section("spectrograms", Silence).silence_dbfs
    kept, left_out = build_manifest(
        clips, exclusions, config, lambda it: media_reason(it, media[it.corpus], config, silence_dbfs=silence_dbfs)
    )
    write_rows(MANIFEST, kept, Clip)
    write_rows(EXCLUSIONS, left_out, Exclusion)
    for note in media_notes(kept, media, silence_dbfs=silence_dbfs):
        log.warning("%s", note)
    log.info("%s in %s, %d left out in %s", count_noun(len(kept), "clip"), MANIFEST, len(left_out), EXCLUSIONS)
    fetch_weights(kept)


if __name__ == "__main__":
    run_stage(main)
