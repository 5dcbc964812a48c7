"""The choice of the head's settings: by validation speakers of all folders, one setting for all."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import head_choice
from benchmarks.head_choice import choose, render
from pipeline.ablation.table import Losses, RowScores
from pipeline.evaluation.clusters import ClusterCounts

ROWS = {"full": {}, "wide": {"head": {"width": 128}}}


def scores(validation: list[float], hits: list[int]) -> RowScores:
    """Return a row's scores in two folds of one speaker, who has ten clips of one class."""
    counts = ClusterCounts(np.array(hits)[:, None], np.full((2, 1), 10), np.arange(2))
    return RowScores("head", Losses(0, 0), [], [*enumerate(validation)], "speaker", counts)


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
