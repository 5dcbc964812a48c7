"""The folder that `benchmarks.head` writes is one that heads are compared in."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.head import write_folder
from data_manifest.splits.protocols import ProtocolConfig
from pipeline.base.params import read_section
from pipeline.parallel.pool import ExecutionConfig
from pipeline.training.corpus import open_corpus
from pipeline.training.held_out import train_and_predict
from pipeline.training.runs import plan_runs, read_recipe


def test_tokens_of_arrays_are_read_as_a_corpus_of_one_modality(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 4, 24)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    arrays = {
        "clip_id": np.array([f"c{row:02}" for row in rng.permutation(24)]),
        "speaker": np.array([f"s{row % 4}" for row in range(24)]),
        "emotion": np.array([("fear", "joy")[row // 4 % 2] for row in range(24)]),
        "sentence": np.array(["a"] * 24),
        "duration_s": np.full(24, 1.5),
        "offsets": offsets,
        "times": np.arange(offsets[-1]) * 0.5,
        "network": rng.standard_normal((offsets[-1], 5)).astype(np.float16),
    }
    write_folder(arrays, "network", tmp_path)
    corpus = open_corpus(tmp_path)
    assert [clip.clip_id for clip in corpus.clips] == sorted(arrays["clip_id"].tolist())
    assert not corpus.examples.visual.present.any()
    for row, clip in enumerate(corpus.clips):
        number = arrays["clip_id"].tolist().index(clip.clip_id)
        part = slice(offsets[number], offsets[number + 1])
        assert (clip.speaker, clip.emotion) == (f"tokens/s{number % 4}", arrays["emotion"][number])
        mask = corpus.examples.acoustic.mask[row]
        np.testing.assert_array_equal(corpus.examples.acoustic.values[row][mask].numpy(), arrays["network"][part])
        np.testing.assert_array_equal(corpus.examples.acoustic.times[row][mask].numpy(), arrays["times"][part])
    protocols = read_section("protocols", dict[str, ProtocolConfig], path=tmp_path / "params.yaml")
    runs = plan_runs(corpus.clips, {"speakers": protocols["speaker_folds"]}, [0])
    plain = read_recipe()
    recipe = replace(plain, head=plain.head.model_copy(update={"name": "lda"}))
    parts = list(
        train_and_predict([(corpus, [(recipe, run) for run in runs])], ExecutionConfig(scheduler="synchronous"))
    )
    assert sum(len(part.test) for part in parts) == 24
    assert all(it.probabilities["video_only"] is None for it in parts[0].test)
