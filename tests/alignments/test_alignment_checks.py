"""The alignments' contract is checked before training: each mistake stops it with one line that names it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import assert_one_line
from torch import Tensor

from pipeline.alignments.checks import check_alignment
from pipeline.alignments.contract import AlignmentConfig
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.errors import ContractError


def means(features: Tensor, weights: Tensor) -> Tensor:
    return weights.sum(1) @ features / weights.sum().clamp(min=1)


def right(visual: Tensor, acoustic: Tensor, visual_weights: Tensor, acoustic_weights: Tensor) -> Tensor:
    return (means(visual, visual_weights) - means(acoustic, acoustic_weights)).square().sum()


MISTAKES: dict[str, tuple[Callable[..., Any], str]] = {
    "vector": (lambda v, a, vw, aw: (means(v, vw) - means(a, aw)).square(), r"the shape \(8,\); .*take its mean"),
    "float": (lambda v, a, vw, aw: right(v, a, vw, aw).item(), "float; .*do not use .item"),
    "nan": (lambda v, a, vw, aw: right(v, a, vw, aw) * float("nan"), "nan; it should give a finite scalar tensor"),
    "integer": (lambda v, a, vw, aw: vw.sum().long(), "5; it should give a finite scalar tensor"),
    "detached": (lambda v, a, vw, aw: right(v.detach(), a.detach(), vw, aw), "no gradient; .*is something detached"),
    "one detached": (lambda v, a, vw, aw: right(v, a.detach(), vw, aw), "no gradient; .*is something detached"),
    "numpy": (lambda v, a, vw, aw: torch.from_numpy(right(v, a, vw, aw).detach().numpy()), "no gradient"),
    "root of 0": (
        lambda v, a, vw, aw: right(v, a, vw, aw) + ((v - v).square().sum()).sqrt(),
        "NaN as a gradient; .*is it the square root of 0",
    ),
    "all rows": (lambda v, a, vw, aw: (v.mean(0) - a.mean(0)).square().sum(), "depends on rows without class weights"),
    "nobody": (
        lambda v, a, vw, aw: (vw.sum(1) @ v / vw.sum() - aw.sum(1) @ a / aw.sum()).square().sum(),
        "nan if no clip of a batch has one of the modalities; .*clamp it to 1",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_of_an_alignment_is_one_line(mistake: str) -> None:
    align, words = MISTAKES[mistake]
    with pytest.raises(ContractError, match=rf"^alignment 'a:b' gave .*{words}") as error:
        check_alignment(align, classes=3, name="a:b")
    assert_one_line(str(error.value))


@pytest.mark.parametrize("classes", [1, 2, 7, 10])
@pytest.mark.parametrize("name", sorted(ALIGNMENTS))
def test_every_alignment_passes(name: str, classes: int) -> None:
    state = torch.get_rng_state()
    for normalise in ("common", "all"):
        check_alignment(ALIGNMENTS[name](AlignmentConfig(normalise=normalise)), classes=classes, name=name)
    check_alignment(right, classes=classes, name="right")
    assert torch.equal(torch.get_rng_state(), state)  # a training draws the same numbers
