"""A manifest of 100,000 clips, whose probes come from the memo, and its splits."""

import os
import resource
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from benchmarks.figures import Figure, single
from data_manifest.corpora.adapters import CorpusConfig
from data_manifest.corpora.probing import probe_corpus, write_media_table
from data_manifest.manifest.clips import Clip, Exclusion, ManifestConfig, build_manifest, read_rows, write_rows
from data_manifest.splits.protocols import RandomFolds, SpeakerFolds, make_splits
from pipeline.media.probe import MediaInfo
from pipeline.parallel.pool import ExecutionConfig

CLIPS = 100_000
EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
KIB = 1024  # Linux reports a process's memory in KiB
INFO = MediaInfo(3.0, 75, 25.0, 256, 256, 48000, 16000, 1)


def measure() -> list[Figure]:
    """Return the seconds and the memory of a manifest, and the seconds of its splits."""
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as folder:
        root = Path(folder) / "corpus"
        for number in range(CLIPS):
            path = root / EMOTIONS[number % 7] / f"speaker{number % 500}_{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number:2000}")  # longer than a git-lfs pointer
            os.utime(path, (0, 0))
        with patch.dict(os.environ, FDAN_CACHE=str(Path(folder) / "cache")):
            with patch("data_manifest.corpora.probing.probe_arrays", lambda path, *, limits: INFO.as_arrays()):
                _manifest(root, Path(folder))  # fills the memo
            start = time.perf_counter()
            clips = _manifest(root, Path(folder))
            seconds = time.perf_counter() - start
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1e9
    figures = [
        single("manifest of 100,000 clips, probes from the memo", seconds, "s", target="< 20 s"),
        single("peak memory of that process", peak_gb, "GB", target="< 1 GB"),
    ]
    for config in (SpeakerFolds(kind="speaker_folds"), RandomFolds(kind="random")):
        start = time.perf_counter()
        make_splits(clips, config.kind, config)
        seconds = time.perf_counter() - start
        figures.append(single(f"{config.kind} of 100,000 clips", seconds, "s", target="< 2 s"))
    return figures


def _manifest(root: Path, folder: Path) -> list[Clip]:
    """Run the computations of the stages corpus and manifest; return the clips."""
    config = CorpusConfig(adapter="folder", root=str(root))
    probed = probe_corpus("many", config, ExecutionConfig(scheduler="synchronous"))
    write_rows(folder / "clips.csv", probed.clips, Clip)
    write_media_table(folder / "media.csv", probed.media)
    kept, left_out = build_manifest(read_rows(folder / "clips.csv", Clip), probed.exclusions, ManifestConfig())
    write_rows(folder / "manifest.csv", kept, Clip)
    write_rows(folder / "exclusions.csv", left_out, Exclusion)
    return kept
