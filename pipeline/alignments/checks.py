"""Whether an alignment keeps its contract, by its values for random features.

Raise ContractError if not.
"""

import torch
from torch import Tensor

from pipeline.alignments.contract import Alignment
from pipeline.base.errors import broken_contract

CLIPS, WIDTH = 6, 8  # of the random features
ABSENT = (slice(0, 1), slice(1, 3))  # the rows without weight, by modality
CLOSE = 1e-3  # relative difference that is rounding


def check_alignment(align: Alignment, *, classes: int, name: str) -> None:
    """Check an alignment on random features (n, D) with one-hot class weights (n, C), where some clips have none.

    It must be a finite scalar that features have a gradient of, and must ignore rows without weight, even if all of
    a modality are. One that does not depend on the features needs no gradient.
    """
    part = f"alignment {name!r}"
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(CLIPS, WIDTH, generator=generator).requires_grad_() for _ in range(2)]
    weights = [torch.nn.functional.one_hot(torch.arange(CLIPS) % classes, classes).float() for _ in range(2)]
    for rows, values in zip(ABSENT, weights, strict=True):
        values[rows] = 0
    value = align(features[0], features[1], *weights)
    _check_scalar(value, part)
    _check_gradients(align, value, features, weights, part)
    changed = [it.detach().clone() for it in features]
    for rows, values in zip(ABSENT, changed, strict=True):
        values[rows] = 10 * values[rows] + 3
    other = align(changed[0], changed[1], *weights)
    if not torch.isclose(other, value, rtol=CLOSE, atol=CLOSE * float(value.detach().abs())):
        gave = "a value that depends on rows without class weights"
        guess = "multiply by the class weights, or leave such rows out; they are clips without the modality"
        raise broken_contract(part, gave=gave, wanted="one that ignores them", guess=guess)
    for nobody in ((torch.zeros_like(weights[0]), weights[1]), (weights[0], torch.zeros_like(weights[1]))):
        _check_scalar(
            align(features[0], features[1], *nobody), part, " if no clip of a batch has one of the modalities"
        )


def _check_scalar(value: object, part: str, when: str = "") -> None:
    wanted = "a finite scalar tensor"
    if not isinstance(value, Tensor):
        guess = "do not use .item() or numpy" if isinstance(value, float) else ""
        raise broken_contract(part, gave=type(value).__name__, wanted=wanted, guess=guess)
    if value.ndim:
        guess = "take its mean or its sum"
        raise broken_contract(part, gave=f"the shape {tuple(value.shape)}", wanted=wanted, guess=guess)
    if not value.is_floating_point() or not torch.isfinite(value):
        guess = "does it divide by a number of clips that can be 0? clamp it to 1"
        raise broken_contract(part, gave=f"{value.item()}{when}", wanted=wanted, guess=guess)


def _check_gradients(align: Alignment, value: Tensor, features: list[Tensor], weights: list[Tensor], part: str) -> None:
    wanted = "a value that both modalities' features have a finite gradient of"
    gradients = torch.autograd.grad(value, features, allow_unused=True) if value.requires_grad else [None, None]
    for number, gradient in enumerate(gradients):
        if gradient is None:
            moved = [it.detach() + (index == number) for index, it in enumerate(features)]
            moved[number] = moved[number] * torch.arange(1, CLIPS + 1)[:, None]
            if not torch.equal(align(moved[0], moved[1], *weights), value):
                guess = "is something detached, or computed with numpy?"
                raise broken_contract(part, gave="no gradient", wanted=wanted, guess=guess)
        elif not torch.isfinite(gradient).all():
            raise broken_contract(part, gave="NaN as a gradient", wanted=wanted, guess="is it the square root of 0?")
