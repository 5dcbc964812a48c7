"""Ablations: rows change what they name, and are compared in pairs by textbook statistics."""

import pytest

from pipeline.ablation import compare, holm, override
from pipeline.errors import ParameterError
from pipeline.heads import HeadConfig
from pipeline.losses import AlignmentConfig
from pipeline.training import Recipe, TrainConfig


def test_comparing_pairs_the_runs() -> None:
    full = [0.5, 0.6, 0.7, 0.8, 0.55, 0.65]
    rows = {row["row"]: row for row in compare({"full": full, "worse": [it - 0.1 for it in full], "same": full})}
    assert rows["worse"]["difference"] == pytest.approx(-0.1)
    # Six pairs, all of one sign: the exact two-sided p is 2 / 2^6, and two comparisons double it.
    assert rows["worse"]["p"] == pytest.approx(2 / 64)
    assert rows["worse"]["p_holm"] == pytest.approx(4 / 64)
    assert rows["same"]["p_holm"] == 1
    assert rows["full"]["p_holm"] is None


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_an_override_changes_what_it_names_and_nothing_else() -> None:
    recipe = Recipe(HeadConfig(), AlignmentConfig(), TrainConfig())
    changed = override(recipe, {"head": {"width": 64}, "alignment": {"name": "none"}}, row="small")
    assert (changed.head.width, changed.alignment.name) == (64, "none")
    assert changed.head == recipe.head.model_copy(update={"width": 64})
    assert changed.train == recipe.train


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"heads": {}}, r"ablations.row: unknown section 'heads'.*did you mean 'head'.*valid: alignment, head, train"),
        ({"head": {"widht": 1}}, r"ablations.row.head.widht: unknown key; did you mean 'width'"),
        ({"train": {"epochs": 0}}, r"ablations.row.train.epochs = 0: .*greater than or equal to 1"),
    ],
)
def test_an_override_that_means_nothing_is_refused_in_words(overrides: dict[str, dict[str, int]], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        override(Recipe(HeadConfig(), AlignmentConfig(), TrainConfig()), overrides, row="row")
