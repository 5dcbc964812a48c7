"""The exploration of a run: its points, mistakes and attention match the head and the clips."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_clip

from data_manifest.splits.split import Split
from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.selection import evenly_spaced
from pipeline.evaluation import projections
from pipeline.evaluation.predictions import Prediction
from pipeline.evaluation.projections import attention, explore, most_confident_mistakes, project
from pipeline.evaluation.schemas import Exploration
from pipeline.heads.contract import HeadConfig, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.fdan import FdanHead
from pipeline.heads.table import HEADS
from pipeline.store.tokens import Tokens
from pipeline.training.checkpoints import save_head
from pipeline.training.corpus import Corpus
from pipeline.training.held_out import load_run, predict_runs
from pipeline.training.recipe import Recipe, TrainConfig
from pipeline.training.runs import FoldRun, describe_head

CLASSES = ["anger", "fear"]


def answer(clip: str, truth: int, fear: float, *, fold: int = 0) -> Prediction:
    return Prediction("folds", False, fold, 0, clip, "s", truth, {"fused": [1 - fear, fear]}, 0)


def tokens(count: int, length: int, width: int, missing: int | None = None) -> Tokens:
    """Return tokens at steps of half a second; the clip `missing` has none."""
    generator = torch.Generator().manual_seed(length)
    mask = torch.ones(count, length, dtype=torch.bool)
    if missing is not None:
        mask[missing] = False
    return Tokens(
        torch.randn(count, length, width, generator=generator), torch.arange(length).expand(count, -1) / 2, mask
    )


def explore_run(corpus: Corpus, run: FoldRun, predictions: list[Prediction], models: Path) -> Exploration:
    """Explore a run as the stage does."""
    of_run = {it.clip_id: it for it in predictions if (it.fold, it.seed) == (run.split.fold, run.seed)}
    answers = [of_run[clip.clip_id] for clip in run.split.test]
    head, card = load_run(corpus, run, models)
    return explore(head, corpus.part(run.split.test, card.train), answers, predictions, corpus.classes)


def save_run(folder: Path, *, name: str = "fdan", count: int = 24) -> tuple[Corpus, FoldRun]:
    """Return a corpus and a run with `count` test clips, the first without video, and save its head in `folder`."""
    others = [make_clip(f"x{n}", emotion=CLASSES[n % 2], speaker=f"x{n // 2}") for n in range(4)]
    clips = [make_clip(f"c{n:02}", emotion=CLASSES[n % 2], speaker=f"s{n % 4}") for n in range(count)]
    labels = torch.arange(count) % 2
    examples = Examples(tokens(count, 4, 6, missing=0), tokens(count, 3, 5), labels)
    provenance = {
        modality: {
            "weights": {"name": "test", "sha256": ""},
            "failures": {},
            "fingerprint": "f",
            "version": "v",
            "config": {},
            "upstream": {"config": {}, "fingerprint": "", "version": ""},
        }
        for modality in ("visual", "acoustic")
    }
    corpus = Corpus(clips, CLASSES, examples, [], provenance)
    run = FoldRun(Split("folds", 0, tuple(others[:2]), tuple(others[2:]), tuple(clips)), 0)
    config = HeadConfig(name=name, width=8)
    torch.manual_seed(0)
    head = HEADS[name](config, Shapes(6, 5, 2))
    card = describe_head(corpus, Recipe(config, AlignmentConfig(), TrainConfig()), {})
    save_head(head, card, folder / "folds" / f"{run.name}.safetensors")
    return corpus, run


def test_evenly_spaced_items_include_first_and_last() -> None:
    assert evenly_spaced("abc", 5) == ["a", "b", "c"]
    assert evenly_spaced(range(100), 5) == [0, 24, 49, 74, 99]


def test_most_confident_mistakes_come_first_and_each_clip_once() -> None:
    rows = [
        answer("right", 1, 0.99),
        answer("sure", 0, 0.9),
        answer("sure", 0, 0.95, fold=1),
        answer("unsure", 0, 0.6),
        answer("other", 1, 0.2),
    ]
    mistakes = most_confident_mistakes(rows, CLASSES)
    assert [(it.clip_id, it.probability, it.fold) for it in mistakes] == [
        ("sure", 0.95, 1),
        ("other", 0.8, 0),
        ("unsure", 0.6, 0),
    ]
    assert (mistakes[1].truth, mistakes[1].predicted, mistakes[1].truth_probability) == ("fear", "anger", 0.2)


def test_similar_clips_are_close_and_missing_clips_have_no_point() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat([0.0, 50.0], 20)[:, None]
    visual = groups + generator.normal(size=(40, 6))
    visual[7] = np.nan
    points = project({"visual": visual, "acoustic": groups[:, :1] * 3 + generator.normal(size=(40, 3))})
    assert np.isnan(points["visual"][7]).all()
    assert np.isfinite(np.delete(points["visual"], 7, axis=0)).all()
    present = np.delete(points["visual"], 7, axis=0)
    clusters = present[:19], present[19:]
    distance = np.linalg.norm(clusters[0].mean(0) - clusters[1].mean(0))
    assert distance > 2 * max(np.linalg.norm(it - it.mean(0), axis=1).mean() for it in clusters)


def test_exploration_matches_the_predictions_of_the_head(tmp_path: Path) -> None:
    corpus, run = save_run(tmp_path)
    predictions = predict_runs(corpus, [run], tmp_path)
    result = explore_run(corpus, run, predictions, tmp_path)
    assert [row.clip_id for row in result.clips] == [clip.clip_id for clip in corpus.clips]
    expected = {it.clip_id: CLASSES[it.predicted_class("fused")] for it in predictions}
    assert {row.clip_id: row.predicted for row in result.clips} == expected
    assert result.clips[0].before.visual is None
    assert result.clips[0].after.acoustic is not None
    assert {row.clip_id for row in result.mistakes} == {
        it.clip_id for it in predictions if it.predicted_class("fused") != it.truth
    }
    assert result == explore_run(corpus, run, predictions, tmp_path)


def test_long_test_parts_are_subsampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, run = save_run(tmp_path)
    monkeypatch.setattr(projections, "PROJECTED_CLIPS", 10)
    monkeypatch.setattr(projections, "ATTENTION_CLIPS", 6)
    result = explore_run(corpus, run, predict_runs(corpus, [run], tmp_path), tmp_path)
    assert (len(result.clips), result.test_clips) == (10, 24)
    assert len(result.attention) == 6


def test_attention_equals_that_of_the_head_with_frames_in_rows(tmp_path: Path) -> None:
    corpus, run = save_run(tmp_path)
    head = FdanHead(HeadConfig(width=8), Shapes(6, 5, 2)).eval()
    predictions = predict_runs(corpus, [run], tmp_path)
    by_clip = {row.clip_id: row for row in attention(head, corpus.examples, predictions, CLASSES)}
    assert "c00" not in by_clip  # it has no video
    row = by_clip["c03"]
    examples = corpus.examples
    shares = head.attention(*(it.batches(torch.tensor([3])) for it in (examples.visual, examples.acoustic)))
    np.testing.assert_allclose(row.frames_to_windows, shares["visual"][0, :, 1:], atol=1e-4)
    np.testing.assert_allclose(row.windows_to_frames, shares["acoustic"][0, :, 1:].T, atol=1e-4)
    assert (row.frames_s, row.windows_s) == ([0, 0.5, 1, 1.5], [0, 0.5, 1])


def test_tokens_of_one_picture_share_a_row_and_long_clips_are_binned() -> None:
    # Two frames of three tokens each; each token gives its windows 0.1, 0.2, 0.3 and 0.4 is the sink's.
    shares = torch.tensor([0.4, 0.1, 0.2, 0.3]).expand(6, 4)
    frames = np.repeat(np.asarray([0.0, 1.0], np.float32), 3)
    values, times = projections._by_image(shares, frames, np.asarray([0.0, 0.0, 1.0], np.float32))
    np.testing.assert_allclose(values, [[0.3, 0.3], [0.3, 0.3]], atol=1e-6)  # windows 1 and 2 are of one image
    assert times.tolist() == [0, 1]
    long = np.arange(100, dtype=np.float32)
    values, times = projections._by_image(torch.full((100, 101), 1 / 101), long, long)
    assert values.shape == (projections.MATRIX_SIDE, projections.MATRIX_SIDE)
    np.testing.assert_allclose(values.sum(1), 100 / 101)
    assert (np.diff(times) > 0).all()


@pytest.mark.parametrize("name", ["concat", "visual", "majority"])
def test_explore_accepts_any_head(tmp_path: Path, name: str) -> None:
    corpus, run = save_run(tmp_path, name=name)
    result = explore_run(corpus, run, predict_runs(corpus, [run], tmp_path), tmp_path)
    assert result.attention == []
    assert all(row.after.acoustic for row in result.clips)
