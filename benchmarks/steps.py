"""Single steps against a plain implementation, on a few clips of the sample corpus."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, ratio, slower
from data_manifest.sample import SampleConfig, plan, render
from pipeline.base.files import file_sha256
from pipeline.base.provenance import digest
from pipeline.faces.crops import FacesConfig, extract_faces
from pipeline.memo.entries import Memo
from pipeline.store.columns import compute_columns
from pipeline.store.features import FeatureStore
from pipeline.store.schemas import EMBEDDINGS
from pipeline.store.writer import open_writer

CLIPS = 7
CLIPS_STORED = 10_000


def measure() -> list[Figure]:
    """Return the figures of the memo and the store."""
    with sample() as paths:
        lengths = np.random.default_rng(1).integers(8, 25, CLIPS_STORED)
        return [
            _memo(paths),
            _store("of 16 tokens each", [16] * CLIPS_STORED),
            _store("of 8 to 24 tokens", lengths),
        ]


@contextmanager
def sample() -> Iterator[list[Path]]:
    """Yield the paths of a few clips of the sample corpus that show a face."""
    with tempfile.TemporaryDirectory() as folder:
        utterances = [it for it in plan(SampleConfig(speakers=2, utterances=1)) if it.has_face][:CLIPS]
        for utterance in utterances:
            render(utterance, Path(folder))
        yield [Path(folder) / utterance.path for utterance in utterances]


def _memo(paths: list[Path]) -> Figure:
    """Time faces found and cropped against the same results read from the memo, hashing the media included."""
    compute = partial(compute_columns, partial(extract_faces, config=FacesConfig()))
    with tempfile.TemporaryDirectory() as folder:
        memo = Memo(Path(folder))
        for path in paths:
            memo.write("faces", digest(file_sha256(path)), compute(path))
        return ratio(
            "a face result from the memo",
            lambda: [compute(path) for path in paths],
            lambda: [memo.read("faces", digest(file_sha256(path))) for path in paths],
            against="computing it",
            target=">= 50",
        )


def _store(name: str, lengths: Iterable[int]) -> Figure:
    """Time loading all embeddings of 10,000 clips, padded and masked, against `numpy.load` of the same bytes."""
    clips = {f"clip{number:05}": length for number, length in enumerate(lengths)}
    ends = np.cumsum([0, *clips.values()])
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path, flat = Path(folder) / "visual.h5", Path(folder) / "flat.npy"
        tokens = rng.normal(size=(ends[-1], 512)).astype(np.float32)
        np.save(flat, tokens)
        like = {"tokens": tokens[:0], "times": np.empty(0, np.float32)}
        with open_writer(path, like=like, attributes={"schema": EMBEDDINGS.name, "config": {}}) as writer:
            for clip_id, start, end in zip(clips, ends, ends[1:], strict=False):
                part = tokens[start:end]
                writer.append(clip_id, {"tokens": part, "times": np.arange(len(part), dtype=np.float32)})
        del tokens
        return slower(
            f"loading 10,000 clips {name} from HDF5",
            lambda: FeatureStore(path).load(list(clips)),
            lambda: np.load(flat),
            against="numpy.load of the same bytes",
            target="<= 3",
        )
