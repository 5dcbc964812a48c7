"""Heads: a clip's answer depends on that clip alone, padding never counts, and a missing modality is a mask."""

import pytest
import torch
from torch import Tensor

from pipeline.dataset import Tokens
from pipeline.errors import ParameterError
from pipeline.heads import HEADS, CrossAttention, FdanHead, HeadConfig, Shapes, Standardise, fuse
from pipeline.params import check

SHAPES = Shapes(visual=6, acoustic=5, classes=3)
CONFIG = HeadConfig(width=16, attention_heads=2, ffn_layers=3)


def tokens(lengths: list[int], width: int, *, seed: int, padding: int = 0, filler: float = 0.0) -> Tokens:
    """Return clips of the given lengths, padded with `filler` to the longest and `padding` more."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths) + padding
    values = torch.full((len(lengths), longest, width), filler)
    mask = torch.zeros(len(lengths), longest, dtype=torch.bool)
    for row, length in enumerate(lengths):
        values[row, :length] = torch.randn(length, width, generator=generator)
        mask[row, :length] = True
    return Tokens(values, torch.arange(longest).expand(len(lengths), -1) * 0.1, mask)


@pytest.fixture(params=sorted(HEADS))
def head(request: pytest.FixtureRequest) -> FdanHead:
    torch.manual_seed(0)
    built = HEADS[request.param](CONFIG, SHAPES)
    for parameter in built.parameters():  # the learned key starts at 0, where mistakes with it would not show
        torch.nn.init.normal_(parameter, std=0.3)
    return built.eval()


def logits(head: FdanHead, visual: Tokens, acoustic: Tokens) -> Tensor:
    with torch.inference_mode():
        output = head(visual, acoustic)
    return torch.cat([output.visual, output.acoustic], 1)


def test_every_head_keeps_the_contract(head: FdanHead) -> None:
    output = head(tokens([3, 4], 6, seed=1), tokens([2, 1], 5, seed=2))
    assert output.visual.shape == output.acoustic.shape == (2, 3)
    assert [layer.shape for layer in output.visual_layers + output.acoustic_layers] == [(2, 16)] * 6


def test_padding_changes_nothing_whatever_it_holds(head: FdanHead) -> None:
    plain = logits(head, tokens([3, 4], 6, seed=1), tokens([2, 1], 5, seed=2))
    padded = logits(
        head, tokens([3, 4], 6, seed=1, padding=5, filler=9.0), tokens([2, 1], 5, seed=2, padding=3, filler=9.0)
    )
    torch.testing.assert_close(padded, plain)


def test_a_clips_answer_does_not_depend_on_its_batch(head: FdanHead) -> None:
    visual, acoustic = tokens([3, 4, 2], 6, seed=1), tokens([2, 1, 3], 5, seed=2)
    together = logits(head, visual, acoustic)
    order = torch.tensor([2, 0])
    torch.testing.assert_close(logits(head, visual.take(order), acoustic.take(order)), together[order])


def test_each_modality_listens_to_the_other_of_its_own_clip(head: FdanHead) -> None:
    visual, acoustic = tokens([3, 4], 6, seed=1), tokens([2, 2], 5, seed=2)
    before = logits(head, visual, acoustic)
    changed = acoustic._replace(values=acoustic.values + torch.tensor([0.0, 1.0])[:, None, None])
    after = logits(head, visual, changed)
    torch.testing.assert_close(after[0], before[0])
    assert (after[1, :3] - before[1, :3]).abs().max() > 1e-4  # the visual answer of the clip whose sound changed


def test_without_attention_the_modalities_are_independent() -> None:
    built = FdanHead(CONFIG.model_copy(update={"attention_depth": 0}), SHAPES).eval()
    visual = tokens([3], 6, seed=1)
    answers = [logits(built, visual, tokens([2], 5, seed=seed))[:, :3] for seed in (2, 3)]
    torch.testing.assert_close(answers[0], answers[1])


def test_a_missing_modality_gives_finite_answers_that_its_padding_cannot_change(head: FdanHead) -> None:
    visual = tokens([3, 3], 6, seed=1)
    answers = [logits(head, visual, tokens([2, 0], 5, seed=2, filler=filler))[:, :3] for filler in (0.0, 7.0)]
    assert torch.isfinite(answers[0]).all()
    torch.testing.assert_close(answers[0], answers[1])


def test_the_gradient_is_finite_when_a_modality_is_missing(head: FdanHead) -> None:
    output = head(tokens([3, 0], 6, seed=1), tokens([0, 2], 5, seed=2))
    (output.visual[0].sum() + output.acoustic[1].sum()).backward()
    assert all(torch.isfinite(it.grad).all() for it in head.parameters() if it.grad is not None)


def test_cross_attention_is_the_textbook_formula() -> None:
    torch.manual_seed(0)
    block = CrossAttention(HeadConfig(width=4, attention_heads=2)).double().eval()
    torch.nn.init.normal_(block.nothing)
    own, other = torch.randn(1, 3, 4, dtype=torch.float64), torch.randn(1, 2, 4, dtype=torch.float64)
    context = torch.cat([block.nothing[0], block.norm_context(other)[0]])
    query, key, value = block.query(block.norm_query(own)[0]), block.key(context), block.value(context)
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for part in (slice(0, 2), slice(2, 4)):  # one head each
        for row in range(3):
            weights = torch.stack([(query[row, part] @ key[column, part]) / 2**0.5 for column in range(3)]).exp()
            expected[row, part] = sum(w * value[column, part] for column, w in enumerate(weights / weights.sum()))
    mask = torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(block(own, other, mask)[0], own[0] + block.out(expected))


def test_standardising_measures_only_the_tokens_that_are_there() -> None:
    measured = Standardise(2)
    values = torch.tensor([[[1.0, 5.0], [3.0, 5.0]], [[8.0, 5.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    measured.fit(Tokens(values, torch.zeros(2, 2), mask))
    scaled = measured(values)[mask]
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2))
    torch.testing.assert_close(scaled[:, 0].std(correction=0), torch.tensor(1.0))
    assert (scaled[:, 1] == 0).all()  # a dimension that never varies says nothing, and is no division by zero


def test_fusing_is_the_mean_of_log_probabilities_of_what_is_there() -> None:
    visual, acoustic = (
        torch.tensor([[2.0, 0.0], [2.0, 0.0], [5.0, 5.0]]),
        torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]),
    )
    fused = fuse(visual, acoustic, torch.tensor([True, True, False]), torch.tensor([True, False, True])).exp()
    both = (visual[0].softmax(0) * acoustic[0].softmax(0)).sqrt()
    torch.testing.assert_close(fused[0], both / both.sum())
    torch.testing.assert_close(fused[1], visual[1].softmax(0))
    torch.testing.assert_close(fused[2], acoustic[2].softmax(0))


def test_one_classifier_may_serve_both_modalities_or_each_have_its_own() -> None:
    shared, separate = (FdanHead(CONFIG.model_copy(update={"shared_classifier": it}), SHAPES) for it in (True, False))
    assert sum(it.numel() for it in separate.parameters()) - sum(it.numel() for it in shared.parameters()) == 16 * 3 + 3


def test_a_head_that_attention_cannot_divide_says_what_would_do() -> None:
    with pytest.raises(ParameterError, match=r"width 10 cannot be shared by 4 attention_heads.*such as 12"):
        check({"width": 10}, HeadConfig, where="params.yaml: head")
