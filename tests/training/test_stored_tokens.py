"""Embeddings that do not fit into memory: trained on from their files, with the results of memory to the last bit."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_clip

from data_manifest.manifest.clips import EXCLUSIONS, MANIFEST, Clip, Exclusion, write_rows
from data_manifest.splits.protocols import SpeakerFolds
from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.provenance import ROOT
from pipeline.evaluation.projections import explore
from pipeline.heads.contract import HeadConfig
from pipeline.heads.table import HEADS
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store import tokens as tokens_module
from pipeline.store.schemas import EMBEDDINGS
from pipeline.store.stored_tokens import StoredTokens
from pipeline.store.tokens import Tokens
from pipeline.store.writer import open_writer
from pipeline.training import corpus as corpus_module
from pipeline.training.checkpoints import save_head
from pipeline.training.corpus import ACOUSTIC, VISUAL, Corpus, open_corpus
from pipeline.training.ensembles import train_ensembles
from pipeline.training.held_out import predict_runs, train_and_predict
from pipeline.training.recipe import Recipe, TrainConfig
from pipeline.training.runs import as_ensemble_runs, describe_head, plan_runs

RUN = ExecutionConfig(scheduler="synchronous")
CLASSES = ["anger", "fear", "joy"]


def write_corpus(
    folder: Path,
    *,
    clips: int = 36,
    width: int = 8,
    views: int = 0,
    shortest: int = 1,
    longest: tuple[int, int] = (6, 3),
) -> None:
    """Write a manifest and stores in another order; clips differ in length, and some lack a modality."""
    rng = np.random.default_rng(0)
    rows = [make_clip(f"c{n:02}", emotion=CLASSES[n % 3], speaker=f"s{n % 4}") for n in range(clips)]
    write_rows(folder / MANIFEST, rows, Clip)
    write_rows(folder / EXCLUSIONS, [], Exclusion)
    attributes = {
        "schema": EMBEDDINGS.name,
        "config": {},
        "weights": {"name": "none", "sha256": ""},
        "upstream": {"config": {}, "fingerprint": "", "version": ""},
        "fingerprint": "made",
        "failures": {},
        "excluded": {},
        "absent": {},
    }
    for path, most in zip((VISUAL, ACOUSTIC), longest, strict=True):
        names = ["tokens", *(f"view_{number + 1}" for number in range(views))]
        like = {"times": np.empty(0, np.float32)} | {name: np.empty((0, width), np.float32) for name in names}
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        values = rng.random((most, width), np.float32)
        with open_writer(folder / path, like=like, attributes=attributes) as writer:
            for row in rng.permutation(clips)[most // 3 :]:  # one or two clips are not in the store
                count = 0 if row % 11 == most else int(rng.integers(min(shortest, most), most + 1))
                columns = {
                    name: values[:count] * rng.random((count, 1), np.float32) + np.float32(row % 3) for name in names
                }
                columns["times"] = rng.random(count).astype(np.float32)
                writer.append(rows[row].clip_id, columns, media_sha256=rows[row].sha256)


def open_both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Corpus, Corpus]:
    """Return the corpus in memory, and the same corpus when there is no memory for it."""
    inside = open_corpus(folder)
    monkeypatch.setattr(corpus_module, "available_bytes", lambda: 0)
    outside = open_corpus(folder)
    assert isinstance(inside.examples.visual, Tokens) and isinstance(inside.examples.acoustic, Tokens)
    assert isinstance(outside.examples.visual, StoredTokens) and isinstance(outside.examples.acoustic, StoredTokens)
    return inside, outside


def assert_equal(first: Tokens, second: Tokens) -> None:
    for name in ("values", "times", "mask"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


@pytest.mark.parametrize("views", [0, 2])
def test_batches_from_a_file_equal_those_from_memory(
    views: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path, views=views)
    both = [it.examples for it in open_both(tmp_path, monkeypatch)]
    for inside, outside in ([it.visual for it in both], [it.acoustic for it in both]):
        assert isinstance(inside, Tokens)
        rng = torch.Generator().manual_seed(0)
        index = torch.randint(len(inside.mask), (3, 16), generator=rng)
        assert_equal(inside.batches(index), outside.batches(index))
        assert_equal(inside.batches(index[0, :1].expand(5)), outside.batches(index[0, :1].expand(5)))
        draws = [[torch.Generator().manual_seed(row) for row in range(3)] for _ in range(2)]
        assert_equal(inside.batches(index, draws[0]), outside.batches(index, draws[1]))
        for first, second in zip(*draws, strict=True):  # which later draws depend on
            assert torch.equal(first.get_state(), second.get_state())
        part = torch.randperm(len(inside.mask), generator=rng)[:7]
        assert_equal(inside.take(part)._replace(views=None), outside.take(part).batches(torch.arange(7)))
        assert torch.equal(inside.take(part).values, outside.take(part).values)
        assert torch.equal(inside.present, outside.present)
        assert inside.width == outside.width == 8


@pytest.mark.parametrize(("name", "chunk_bytes"), [*product(sorted(HEADS), [2000]), ("fdan", 1), ("fdan", 1 << 25)])
def test_a_head_that_is_trained_from_files_equals_that_from_memory(
    name: str, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path, views=1)
    monkeypatch.setattr(tokens_module, "CHUNK_BYTES", chunk_bytes)
    recipe = Recipe(
        HeadConfig(name=name, width=8, attention_heads=2), AlignmentConfig(), TrainConfig(epochs=2, batch_size=8)
    )
    results = []
    for corpus in open_both(tmp_path, monkeypatch):
        runs = plan_runs(corpus.clips, {"folds": SpeakerFolds(kind="speaker_folds", folds=2)}, [0])
        ensembles = as_ensemble_runs(corpus, [(recipe, run) for run in runs])
        trained = train_ensembles(corpus.examples, ensembles, classes=3)
        predictions = []
        for run, head in zip(runs, trained, strict=True):
            path = tmp_path / "folds" / f"{run.name}.safetensors"
            save_head(head.head, describe_head(corpus, recipe, {"fused": 2.0}, run=run), path)
            predictions += predict_runs(corpus, [run], tmp_path)
        states = [head.head.state_dict() for head in trained]
        results.append((states, [it.curve for it in trained], predictions))
    (states, *rest), (other_states, *other_rest) = results
    assert rest == other_rest
    for state, other in zip(states, other_states, strict=True):
        assert all(torch.equal(value, other[key]) for key, value in state.items())


def test_exploration_and_ablation_work_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path)
    recipe = Recipe(HeadConfig(width=8, attention_heads=2), AlignmentConfig(), TrainConfig(epochs=1, batch_size=8))
    results = []
    for corpus in open_both(tmp_path, monkeypatch):
        runs = plan_runs(corpus.clips, {"folds": SpeakerFolds(kind="speaker_folds", folds=2)}, [0])
        monkeypatch.setenv("FDAN_CACHE", str(tmp_path / type(corpus.examples.visual).__name__))
        predictions = [
            row for part in train_and_predict([(corpus, [(recipe, run) for run in runs])], RUN) for row in part.test
        ]
        head = train_ensembles(corpus.examples, as_ensemble_runs(corpus, [(recipe, runs[0])]), classes=3)[0].head
        answers = predictions[: len(runs[0].split.test)]
        exploration = explore(head, corpus.part(runs[0].split.test, recipe.train), answers, predictions, CLASSES)
        assert exploration.attention
        results.append((predictions, exploration))
    assert results[0] == results[1]


def test_memory_is_shared_by_the_workers_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path)
    needed = 36 * 8 * 4 * (6 + 3)
    monkeypatch.setattr(corpus_module, "available_bytes", lambda: 2 * 4 * needed)
    assert isinstance(open_corpus(tmp_path, processes=4).examples.visual, Tokens)
    assert isinstance(open_corpus(tmp_path, processes=5).examples.visual, StoredTokens)


@pytest.mark.slow
def test_a_store_of_twice_the_free_address_space_is_trained_on(tmp_path: Path) -> None:
    for name, clips in {"small": 96, "large": 768}.items():
        write_corpus(tmp_path / name, clips=clips, width=8192, longest=(16, 1), shortest=16)
    size = sum((tmp_path / "large" / path).stat().st_size for path in (VISUAL, ACOUSTIC))
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "small"), str(tmp_path / "large"), str(size // 2)]
    # Every thread may reserve an arena of 64 MB of address space, which is no memory.
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.stdout.split(), done.returncode) == (["MemoryError", "StoredTokens", "1"], 0), done.stderr


# The limit is on what a process may add: PyTorch's libraries alone reserve gigabytes of address space.
LIMITED = """
import resource, sys
from pathlib import Path
from typing import Any
import psutil
from pipeline.heads.contract import HeadConfig
from pipeline.alignments.contract import AlignmentConfig
from pipeline.training.answers import predict
from pipeline.training.corpus import VISUAL, open_corpus
from pipeline.training.recipe import Recipe, TrainConfig
from pipeline.training.replicas import Replica, train_together
from pipeline.store.features import FeatureStore
import torch

RECIPE = Recipe(HeadConfig(width=8, attention_heads=2), AlignmentConfig(), TrainConfig(epochs=1, batch_size=16))

def train(folder):
    corpus = open_corpus(Path(folder))
    clips = torch.arange(len(corpus.clips))
    (trained,) = train_together(corpus.examples, [Replica(RECIPE, clips[8:], clips[:8], 0)], classes=3)
    assert predict(trained.head, corpus.examples.take(clips[:8]))["fused"].isfinite().any()
    return corpus, trained

small, large, free = sys.argv[1:]
train(small)  # with the shapes of the large one, for each of which libraries reserve address space at its first use
limit = psutil.Process().memory_info().vms + int(free)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    store = FeatureStore(Path(large) / VISUAL)
    store.load(list(store))
except MemoryError:
    print("MemoryError")
corpus, trained = train(large)
print(type(corpus.examples.visual).__name__, len(trained.curve))
"""
