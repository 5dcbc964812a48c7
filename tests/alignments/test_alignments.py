"""Alignments: LMMD equals a float64 double loop and has its mathematical properties; MMD and CORAL equal formulas."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from pipeline.alignments.contract import AlignmentConfig
from pipeline.alignments.lmmd import lmmd
from pipeline.alignments.schedule import progress_weight
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.errors import ParameterError, TrainingError
from pipeline.base.params import check

CLASSES = 4
Array = NDArray[np.float64]


def oracle(source: Array, target: Array, source_probs: Array, target_probs: Array, *, normalise: str) -> float:
    """Compute the formula of the paper term by term, in double loops."""
    points = np.concatenate([source, target])
    n = len(points)
    bandwidth = sum(np.sum((a - b) ** 2) for a in points for b in points) / (n * n - n)

    def kernel(a: Array, b: Array) -> float:
        return sum(math.exp(-np.sum((a - b) ** 2) / (bandwidth * 2.0 ** (k - 2))) for k in range(5))

    def mean_kernel(xs: Array, ys: Array, wx: Array, wy: Array) -> float:
        pairs = ((i, j) for i in range(len(xs)) for j in range(len(ys)))
        return float(sum(wx[i] * wy[j] * kernel(xs[i], ys[j]) for i, j in pairs))

    total, counted = 0.0, 0
    for c in range(source_probs.shape[1]):
        common = all(c in probs.argmax(1) for probs in (source_probs, target_probs))
        has_weight = all(probs[:, c].sum() > 0 for probs in (source_probs, target_probs))
        if not (common if normalise == "common" else has_weight):
            continue
        ws, wt = source_probs[:, c] / source_probs[:, c].sum(), target_probs[:, c] / target_probs[:, c].sum()
        counted += 1
        total += mean_kernel(source, source, ws, ws) + mean_kernel(target, target, wt, wt)
        total -= 2 * mean_kernel(source, target, ws, wt)
    divisor = counted if normalise == "common" else source_probs.shape[1]
    return total / max(1, divisor)


def batch(n: int, m: int, *, seed: int, soft: bool, classes: int = CLASSES) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(size, 5, generator=generator, dtype=torch.float64) for size in (n, m)]
    probs = [torch.rand(size, classes, generator=generator, dtype=torch.float64) for size in (n, m)]
    if soft:
        probs = [it / it.sum(1, keepdim=True) for it in probs]
    else:
        probs = [one_hot(it.argmax(1), classes).double() for it in probs]
    return features[0], features[1] + 0.3, probs[0], probs[1]


@pytest.mark.parametrize("normalise", ["common", "all"])
@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize(("n", "m"), [(6, 6), (3, 9), (1, 4), (1, 1)])
def test_lmmd_equals_the_double_loop(n: int, m: int, soft: bool, normalise: str) -> None:
    for seed in range(3):
        values = batch(n, m, seed=seed, soft=soft)
        expected = oracle(*(it.numpy() for it in values), normalise=normalise)
        actual = lmmd(*values, normalise=normalise)  # type: ignore[arg-type]
        assert actual.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert actual.item() > -1e-12


def test_lmmd_with_one_class_is_the_biased_mmd() -> None:
    source, target, *_ = batch(5, 7, seed=0, soft=False)
    ones = [torch.ones(len(it), 1, dtype=torch.float64) for it in (source, target)]
    points = torch.cat([source, target])
    squared = torch.cdist(points, points) ** 2
    bandwidth = squared.sum() / (12 * 11)
    kernel = sum(torch.exp(-squared / (bandwidth * 2.0**k)) for k in range(-2, 3))
    assert isinstance(kernel, Tensor)
    biased = kernel[:5, :5].mean() + kernel[5:, 5:].mean() - 2 * kernel[:5, 5:].mean()
    assert lmmd(source, target, *ones).item() == pytest.approx(biased.item(), rel=1e-9)


def test_identical_data_and_labels_give_zero() -> None:
    source, _, probs, _ = batch(8, 8, seed=1, soft=False)
    assert lmmd(source, source, probs, probs).item() == pytest.approx(0, abs=1e-12)


def test_equal_features_give_exactly_zero_and_a_finite_gradient() -> None:
    source = torch.ones(4, 3, requires_grad=True)
    probs = one_hot(torch.tensor([0, 1, 2, 0]), CLASSES).float()
    distance = lmmd(source, torch.ones(4, 3), probs, probs)
    distance.backward()
    assert distance.item() == 0
    assert source.grad is not None
    assert torch.isfinite(source.grad).all()


def test_collapsed_features_give_a_negligible_gradient() -> None:
    point = torch.randn(1, 64, generator=torch.Generator().manual_seed(0)) * 3
    source = (point + 1e-6 * torch.randn(4, 64)).requires_grad_()
    probs = one_hot(torch.tensor([0, 1, 2, 0]), CLASSES).float()
    distance = lmmd(source, point.expand(4, -1), probs, probs)
    distance.backward()
    assert abs(distance.item()) < 1e-4
    assert source.grad is not None
    assert source.grad.abs().max() < 1e-2


@pytest.mark.parametrize("offset", [0.0, 10.0, 1000.0])
def test_a_small_spread_around_a_large_offset_is_measured(offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randn(8, 16, generator=generator) * 1e-4 * max(offset, 1) + offset for _ in range(2))
    probs = one_hot(torch.arange(8) % 2, CLASSES).float()
    expected = lmmd(source.double(), target.double(), probs.double(), probs.double())
    assert lmmd(source, target, probs, probs).item() == pytest.approx(expected.item(), rel=1e-3)


def test_lmmd_does_not_depend_on_the_order_of_samples() -> None:
    source, target, source_probs, target_probs = batch(6, 5, seed=2, soft=True)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    mixed = lmmd(source[order], target, source_probs[order], target_probs)
    assert mixed.item() == pytest.approx(lmmd(source, target, source_probs, target_probs).item(), rel=1e-12)


def test_common_ignores_classes_that_are_absent_from_one_side() -> None:
    source, target, *_ = batch(4, 4, seed=3, soft=False)
    source_labels, target_labels = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 2, 2])
    both = lmmd(source, target, one_hot(source_labels, 4).double(), one_hot(target_labels, 4).double())
    # Only class 0 counts, but the bandwidth is that of the whole batches.
    expected = oracle(
        source.numpy(),
        target.numpy(),
        one_hot(source_labels, 4).numpy() * [1.0, 0, 0, 0],
        one_hot(target_labels, 4).numpy() * [1.0, 0, 0, 0],
        normalise="all",
    )
    assert both.item() == pytest.approx(expected * 4, rel=1e-9)


def test_no_common_class_gives_zero_with_a_finite_gradient() -> None:
    source, target, *_ = batch(3, 3, seed=4, soft=False)
    source.requires_grad_()
    probs = [one_hot(torch.full((3,), label), CLASSES).double() for label in (0, 1)]
    distance = lmmd(source, target, *probs)
    distance.backward()
    assert distance.item() == 0
    assert source.grad is not None
    assert torch.equal(source.grad, torch.zeros_like(source))


def test_gradient_treats_the_bandwidth_as_constant() -> None:
    source, target, source_probs, target_probs = batch(3, 4, seed=5, soft=True)
    points = torch.cat([source, target])
    bandwidth = (points[:, None] - points[None]).square().sum() / (7 * 6)
    signed = torch.cat([source_probs / source_probs.sum(0), -target_probs / target_probs.sum(0)])
    common = [c for c in range(CLASSES) if c in source_probs.argmax(1) and c in target_probs.argmax(1)]

    def explicit(values: Tensor) -> Tensor:
        points = torch.cat([values, target])
        squared = (points[:, None] - points[None]).square().sum(-1)
        kernel = torch.stack([torch.exp(-squared / (bandwidth * 2.0**k)) for k in range(-2, 3)]).sum(0)
        return torch.stack([signed[:, c] @ kernel @ signed[:, c] for c in common]).mean()

    assert torch.autograd.gradcheck(explicit, source.clone().requires_grad_())
    (expected,) = torch.autograd.grad(explicit(source.requires_grad_()), source)
    (actual,) = torch.autograd.grad(lmmd(source, target, source_probs, target_probs), source)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def test_gradient_of_the_class_weights_is_correct() -> None:
    source, target, source_probs, target_probs = batch(3, 3, seed=6, soft=True)
    probs = [it.clone().requires_grad_() for it in (source_probs, target_probs)]
    assert torch.autograd.gradcheck(lambda one, two: lmmd(source, target, one, two), probs)


def test_features_that_are_not_finite_raise() -> None:
    source, target, *probs = batch(3, 3, seed=7, soft=False)
    source[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="not finite"):
        lmmd(source, target, *probs)


def test_weight_grows_from_zero_to_one() -> None:
    values = [progress_weight(step / 10, gamma=10) for step in range(11)]
    assert values[0] == 0
    assert values[-1] == pytest.approx(0.99991, abs=5e-6)
    assert all(before < after for before, after in pairwise(values))
    assert progress_weight(1, gamma=1) == pytest.approx(0.462, abs=5e-4)


@pytest.mark.parametrize("change", [{"kernel_mul": 3.0}, {"kernel_num": 3}, {"normalise": "all"}])
def test_every_parameter_of_the_section_has_an_effect(change: dict[str, object]) -> None:
    values = batch(2, 6, seed=8, soft=True)  # two samples: under `all` more classes count than under `common`
    changed = ALIGNMENTS["lmmd"](check(change, AlignmentConfig, where="alignment"))
    assert changed(*values).item() != pytest.approx(ALIGNMENTS["lmmd"](AlignmentConfig())(*values).item())


@pytest.mark.parametrize(("n", "m"), [(5, 5), (7, 3)])
def test_mmd_equals_the_mean_kernel_over_pairs(n: int, m: int) -> None:
    source, target, source_probs, target_probs = batch(n, m, seed=3, soft=False)
    together = torch.cat([source, target]).numpy()
    squares = ((together[:, None] - together[None]) ** 2).sum(-1)
    bandwidth = squares.sum() / ((n + m) ** 2 - n - m)
    kernel = sum(np.exp(-squares / (bandwidth * 2.0 ** (k - 2))) for k in range(5))
    expected = kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
    value = ALIGNMENTS["mmd"](AlignmentConfig(name="mmd"))(source, target, source_probs, target_probs)
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_coral_equals_the_distance_of_numpys_covariances() -> None:
    source, target, source_probs, target_probs = batch(7, 4, seed=4, soft=False)
    coral = ALIGNMENTS["coral"](AlignmentConfig(name="coral"))
    difference = np.cov(source.numpy().T) - np.cov(target.numpy().T)
    expected = (difference**2).sum() / (4 * source.shape[1] ** 2)
    assert coral(source, target, source_probs, target_probs).item() == pytest.approx(expected, rel=1e-9)
    single = coral(source[:1], source[:1], source_probs[:1], source_probs[:1])
    assert single.item() == 0


@pytest.mark.parametrize("name", sorted(ALIGNMENTS))
def test_every_alignment_ignores_rows_without_class_weight(name: str) -> None:
    align = ALIGNMENTS[name](AlignmentConfig(name=name))
    source, target, source_probs, target_probs = batch(6, 5, seed=5, soft=False)
    extended = torch.cat([source, 100 + source[:2]]), torch.cat([source_probs, 0 * source_probs[:2]])
    expected = align(source, target, source_probs, target_probs)
    torch.testing.assert_close(align(extended[0], target, extended[1], target_probs), expected)


def test_no_alignment_is_zero() -> None:
    assert ALIGNMENTS["none"](AlignmentConfig())(*batch(6, 6, seed=8, soft=True)).item() == 0


def test_unknown_alignment_is_an_error_that_lists_the_valid_ones() -> None:
    with pytest.raises(ParameterError, match=r"lmdd.*did you mean 'lmmd'.*valid: coral, lmmd, mmd, none"):
        check({"name": "lmdd"}, AlignmentConfig, where="alignment")
