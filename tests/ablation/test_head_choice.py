"""The choice of the head's settings: by validation speakers of all folders, one setting for all."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_clip

from benchmarks import head_choice
from benchmarks.head_choice import Scored, choose, join_seeds, render
from data_manifest.splits.split import Split
from pipeline.ablation.table import Losses, RowScores
from pipeline.evaluation.clusters import ClusterCounts
from pipeline.evaluation.predictions import Prediction
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.ensemble import Ensemble
from pipeline.heads.examples import Examples
from pipeline.heads.fdan import FdanHead
from pipeline.store.tokens import Tokens
from pipeline.training.answers import predict
from pipeline.training.held_out import HeldOut
from pipeline.training.runs import FoldRun

ROWS = {"full": {}, "wide": {"head": {"width": 128}}}


def scores(validation: list[float], hits: list[int]) -> Scored:
    """Return a row's scores in two folds of one speaker, who has ten clips of one class."""
    counts = ClusterCounts(np.array(hits)[:, None], np.full((2, 1), 10), np.arange(2))
    return Scored(
        RowScores("head", Losses(0, 0), [], [*enumerate(validation)], "speaker", counts), {"audio_only": 0.25}
    )


def test_a_row_is_chosen_by_its_mean_over_the_validation_parts_of_all_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_choice, "CHOICES", ROWS)
    tables = {
        Path("one"): {"full": scores([0.6, 0.9], [1, 2]), "wide": scores([0.7, 0.5], [3, 4])},
        Path("two"): {"full": scores([0.6, 0.1], [5, 6]), "wide": scores([0.4, 0.6], [7, 8])},
    }
    chosen = choose(tables)
    # In the first fold 0.6 against 0.55, in the second 0.5 against 0.55, whatever the test parts say.
    assert [rows for rows, _ in chosen.values()] == [["full", "wide"]] * 2
    assert [counts.hits[:, 0].tolist() for _, counts in chosen.values()] == [[1, 4], [5, 8]]
    lines = [*render(tables)]
    assert "| full | 15.0 (" in "\n".join(lines)
    assert lines[-1].startswith("two: chosen on validation speakers 65.0 (")


def test_a_row_without_effect_in_a_folder_counts_as_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_choice, "CHOICES", ROWS)
    both = {"full": scores([0.5, 0.5], [1, 1]), "wide": scores([0.6, 0.6], [2, 2])}
    chosen = choose({Path("one"): both, Path("two"): {"full": scores([0.5, 0.5], [3, 3])}})
    assert chosen[Path("two")][0] == ["wide", "wide"]
    assert chosen[Path("two")][1].hits[:, 0].tolist() == [3, 3]


def test_runs_joined_with_the_next_seeds_answer_as_an_ensemble_of_their_heads() -> None:
    torch.manual_seed(0)
    train, validation, test = ((make_clip(name, speaker=name),) for name in "abc")
    split = Split("folds", 0, train, validation, test)
    visual, acoustic = (
        Tokens(torch.randn(5, 4, 6), torch.rand(5, 4), torch.ones(5, 4, dtype=torch.bool)) for _ in "va"
    )
    examples = Examples(visual, acoustic, torch.zeros(5, dtype=torch.long))
    heads = [FdanHead(HeadConfig(width=8), Shapes(6, 6, 3)).eval() for _ in range(4)]

    def tested(seed: int) -> tuple[str, FoldRun, HeldOut]:
        predictions = answers_of(heads[seed])
        return "full", FoldRun(split, seed), HeldOut(predictions, predictions)

    def answers_of(head: Head) -> list[Prediction]:
        answers = predict(head, examples)
        return [
            Prediction(
                "folds", False, 0, 0, f"c{clip}", "s", 0, {it: rows[clip].tolist() for it, rows in answers.items()}, 0
            )
            for clip in range(5)
        ]

    joined = [*join_seeds(map(tested, range(4)), 3)]
    assert [run.seed for _, run, _ in joined] == [0, 1, 2, 3]
    for (_, _, held_out), members in zip(joined, ([0, 1, 2], [1, 2, 3], [2, 3, 0], [3, 0, 1]), strict=True):
        for mine, theirs in zip(held_out.test, answers_of(Ensemble([heads[it] for it in members])), strict=True):
            for answer in ("fused", "video_only", "audio_only"):
                assert mine.probabilities[answer] == pytest.approx(theirs.probabilities[answer], rel=1e-5)
