"""Heads: an answer depends on its clip alone, padding has no effect, and modalities may be missing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from alone import train
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ParameterError
from pipeline.base.params import check
from pipeline.heads.baseline import LinearBaseline
from pipeline.heads.contract import Head, HeadConfig, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.fdan import CrossAttention, FdanHead
from pipeline.heads.layers import Dropout, Standardise, TokenDropout, fuse, masked_moments
from pipeline.heads.official import OfficialHead
from pipeline.heads.table import HEADS
from pipeline.store import tokens as tokens_module
from pipeline.store.tokens import Tokens
from pipeline.training.recipe import Recipe, TrainConfig

SHAPES = Shapes(visual=6, acoustic=6, classes=3)
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


def randomised(head: Head) -> Head:
    """Return the head with random parameters, because zeros would hide mistakes."""
    torch.manual_seed(0)
    for value in head.state_dict().values():
        torch.nn.init.normal_(value, std=0.3)
        if value.ndim == 1 and len(value) == SHAPES.classes:
            value.abs_()  # frequencies are never negative
    return head.eval()


@pytest.fixture(params=sorted(HEADS))
def head(request: pytest.FixtureRequest) -> Head:
    return randomised(HEADS[request.param](CONFIG, SHAPES))


@pytest.fixture
def fdan() -> Head:
    return randomised(FdanHead(CONFIG, SHAPES))


def logits(head: Head, visual: Tokens, acoustic: Tokens) -> Tensor:
    """Return all logits of the head, concatenated (B, up to 3·C)."""
    with torch.inference_mode():
        output = head(visual, acoustic)
    return torch.cat([it for it in (output.visual, output.acoustic, output.fused) if it is not None], 1)


@pytest.mark.parametrize("chunk_bytes", [1, 300, 1 << 25])
def test_standardise_measures_chunk_by_chunk_as_on_all_tokens_at_once(
    chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "CHUNK_BYTES", chunk_bytes)
    clips = tokens([3, 1, 0, 4, 2, 0], 6, seed=1, filler=1e6)
    clips.values.mul_(3).add_(100)[..., 5] = 7
    layer, expected = Standardise(6), clips.values[clips.mask].double()
    layer.fit(clips)
    torch.testing.assert_close(layer.mean, expected.mean(0).float())
    torch.testing.assert_close(layer.std[:5], expected.std(0, correction=0).float()[:5])
    assert layer.std[5] == 1


def test_every_head_meets_the_contract(head: Head) -> None:
    output = head(tokens([3, 4], 6, seed=1), tokens([2, 1], 6, seed=2))
    answers = [it for it in (output.visual, output.acoustic, output.fused) if it is not None]
    assert answers
    assert {answer.shape for answer in answers} == {(2, 3)}
    assert len(output.visual_layers) == len(output.acoustic_layers)
    assert {layer.shape[0] for layer in output.visual_layers + output.acoustic_layers} <= {2}


def test_fdan_has_as_many_layers_and_the_width_of_its_configuration(fdan: Head) -> None:
    output = fdan(tokens([3, 4], 6, seed=1), tokens([2, 1], 6, seed=2))
    assert [layer.shape for layer in output.visual_layers + output.acoustic_layers] == [(2, 16)] * 6


def test_padding_has_no_effect(head: Head) -> None:
    plain = logits(head, tokens([3, 4], 6, seed=1), tokens([2, 1], 6, seed=2))
    padded = logits(
        head, tokens([3, 4], 6, seed=1, padding=5, filler=9.0), tokens([2, 1], 6, seed=2, padding=3, filler=9.0)
    )
    torch.testing.assert_close(padded, plain)


def test_answer_does_not_depend_on_the_batch(head: Head) -> None:
    visual, acoustic = tokens([3, 4, 2], 6, seed=1), tokens([2, 1, 3], 6, seed=2)
    together = logits(head, visual, acoustic)
    order = torch.tensor([2, 0])
    torch.testing.assert_close(logits(head, visual.take(order), acoustic.take(order)), together[order])


def test_modalities_attend_to_each_other_within_the_clip(fdan: Head) -> None:
    visual, acoustic = tokens([3, 4], 6, seed=1), tokens([2, 2], 6, seed=2)
    before = logits(fdan, visual, acoustic)
    changed = acoustic._replace(values=acoustic.values + torch.tensor([0.0, 1.0])[:, None, None])
    after = logits(fdan, visual, changed)
    torch.testing.assert_close(after[0], before[0])
    assert (after[1, :3] - before[1, :3]).abs().max() > 1e-4  # the visual answer of the clip whose sound changed


def test_training_also_gives_the_answers_without_the_other_modality() -> None:
    config = CONFIG.model_copy(update={"dropout": 0.0, "token_dropout": 0.0})
    head = randomised(HEADS["fdan"](config, SHAPES))
    visual, acoustic = tokens([3, 5, 2], 6, seed=0), tokens([4, 1, 6], 6, seed=1)
    none = [Tokens(it.values, it.times, torch.zeros_like(it.mask)) for it in (visual, acoustic)]
    output = head.train()(visual, acoustic)
    head.eval()
    torch.testing.assert_close(output.video_only, head(visual, none[1]).visual)
    torch.testing.assert_close(output.audio_only, head(none[0], acoustic).acoustic)
    assert not torch.allclose(output.video_only, output.visual)


def test_modalities_are_independent_without_attention() -> None:
    independent = FdanHead(CONFIG.model_copy(update={"attention_depth": 0}), SHAPES).eval()
    visual = tokens([3], 6, seed=1)
    answers = [logits(independent, visual, tokens([2], 6, seed=seed))[:, :3] for seed in (2, 3)]
    torch.testing.assert_close(answers[0], answers[1])


def test_missing_modality_gives_finite_answers_regardless_of_padding(head: Head) -> None:
    visual = tokens([3, 3], 6, seed=1)
    answers = [logits(head, visual, tokens([2, 0], 6, seed=2, filler=filler)) for filler in (0.0, 7.0)]
    assert torch.isfinite(answers[0]).all()
    torch.testing.assert_close(answers[0], answers[1])


def test_gradient_is_finite_if_a_modality_is_missing(head: Head) -> None:
    output = head(tokens([3, 0], 6, seed=1), tokens([0, 2], 6, seed=2))
    loss = sum(it.sum() for it in (output.visual, output.acoustic, output.fused) if it is not None)
    assert isinstance(loss, Tensor)
    if loss.requires_grad:
        loss.backward()
    assert all(torch.isfinite(it.grad).all() for it in head.parameters() if it.grad is not None)


def test_cross_attention_equals_the_textbook_formula() -> None:
    torch.manual_seed(0)
    config = HeadConfig(width=4, attention_heads=2)
    block, others = CrossAttention(config).double().eval(), CrossAttention(config).double().eval()
    torch.nn.init.normal_(block.sink)
    queries, keys = torch.randn(1, 3, 4, dtype=torch.float64), torch.randn(1, 2, 4, dtype=torch.float64)

    def normalise(values: Tensor) -> Tensor:
        return (values - values.mean(-1, keepdim=True)) / (values.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()

    query = (normalise(queries[0]) @ block.query_key_value.weight.T)[:, :4]
    _, key, value = (normalise(keys[0]) @ others.query_key_value.weight.T).chunk(3, -1)
    expected, shares = torch.zeros(3, 4, dtype=torch.float64), torch.zeros(2, 3, 3, dtype=torch.float64)
    for head, part in enumerate((slice(0, 2), slice(2, 4))):
        for row in range(3):
            scores = [block.sink[head], *((query[row, part] @ key[column, part]) / 2**0.5 for column in range(2))]
            weights = torch.stack(scores).exp()
            shares[head, :, row] = weights / weights.sum()
            expected[row, part] = sum(w * value[column, part] for column, w in enumerate(shares[head, 1:, row]))
    _, other_key, other_value = others.project(keys)
    weights = block.attention_weights(block.project(queries)[0], other_key, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(weights[0], shares)
    result = block(queries, weights, other_value)
    torch.testing.assert_close(result[0], queries[0] + expected @ block.out.weight.T)


def test_standardise_measures_unmasked_tokens_only() -> None:
    standardise = Standardise(2)
    values = torch.tensor([[[1.0, 5.0], [3.0, 5.0]], [[8.0, 5.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    standardise.fit(Tokens(values, torch.zeros(2, 2), mask))
    scaled = standardise(values)[mask]
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2))
    torch.testing.assert_close(scaled[:, 0].std(correction=0), torch.tensor(1.0))
    assert (scaled[:, 1] == 0).all()  # no division by zero for a dimension without variance


def test_dropout_zeroes_its_share_and_keeps_the_mean_for_every_replica() -> None:
    dropout, values = Dropout(0.3), torch.ones(200, 501)
    dropout(values)
    one, other = dropout.draw_noise([torch.Generator().manual_seed(seed) for seed in (0, 1)])
    assert one.shape == values.shape
    assert one.unique().tolist() == pytest.approx([0, 1 / 0.7])
    flat = one.flatten()[:100_000].view(-1, 4)
    torch.testing.assert_close((flat == 0).double().mean(0), torch.full((4,), 0.3).double(), atol=0.01, rtol=0)
    assert one.mean() == pytest.approx(1, abs=0.01)
    assert ((one == 0) & (other == 0)).double().mean() == pytest.approx(0.09, abs=0.005)
    assert torch.equal(dropout.draw_noise([torch.Generator().manual_seed(1)])[0], other)


def test_fusion_is_the_mean_log_probability_of_present_modalities() -> None:
    visual, acoustic = (
        torch.tensor([[2.0, 0.0], [2.0, 0.0], [5.0, 5.0]]),
        torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]),
    )
    present = {"visual": torch.tensor([True, True, False]), "acoustic": torch.tensor([True, False, True])}
    fused = fuse({"visual": visual, "acoustic": acoustic}, present).exp()
    both = (visual[0].softmax(0) * acoustic[0].softmax(0)).sqrt()
    torch.testing.assert_close(fused[0], both / both.sum())
    torch.testing.assert_close(fused[1], visual[1].softmax(0))
    torch.testing.assert_close(fused[2], acoustic[2].softmax(0))
    torch.testing.assert_close(fuse({"visual": visual}, present)[1].exp(), visual[1].softmax(0))


def learnable(count: int, *, seed: int, width: int = 6, distance: float = 3.0) -> Examples:
    """Return clips whose class 0 shows in the visual tokens, class 1 in the acoustic ones, and class 2 in neither."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    parts = []
    for special in (0, 1):
        values = torch.randn(count, 4, width, generator=generator)
        values[:, :, special] += distance * (labels == special)[:, None]
        parts.append(Tokens(values, torch.zeros(count, 4), torch.ones(count, 4, dtype=torch.bool)))
    return Examples(parts[0], parts[1], labels)


def with_speakers(examples: Examples) -> Examples:
    """Return the clips with six speakers, whose classes are mixed."""
    return replace(examples, speakers=torch.arange(len(examples)) // 3 % 6 * 10)


@pytest.mark.parametrize(("name", "parameter"), [("linear", "C"), ("lda", "shrinkage")])
@pytest.mark.parametrize("width", [6, 120])  # fewer and more than clips
def test_closed_form_head_equals_scikit_learns_cross_validated_model(name: str, parameter: str, width: int) -> None:
    training, test = (with_speakers(learnable(90, seed=seed, width=width, distance=1.0)) for seed in (0, 1))
    head = HEADS[name](CONFIG, Shapes(width, width, 3))
    assert isinstance(head, LinearBaseline) and training.speakers is not None
    head.fit(training)
    tokens_of = [torch.cat([it.visual.values, it.acoustic.values], 2).numpy() for it in (training, test)]
    # Measured on tokens, not on their means.
    scaler = StandardScaler().fit(tokens_of[0].reshape(-1, 2 * width))
    means = [scaler.transform(it.reshape(-1, 2 * width)).reshape(len(it), 4, -1).mean(1) for it in tokens_of]
    model = LogisticRegression(max_iter=1000) if name == "linear" else LinearDiscriminantAnalysis(solver="lsqr")
    labels, groups = training.labels.numpy(), training.speakers.numpy() // 10 % 5
    scores = []
    for strength in head.strengths:
        model.set_params(**{parameter: strength})
        answers = cross_val_predict(model, means[0], labels, groups=groups, cv=LeaveOneGroupOut())
        scores.append(balanced_accuracy_score(labels, answers))
    chosen = head.strengths[int(np.argmax(np.round(scores, 9)))]
    assert head.get_buffer("chosen")[2] == torch.tensor(chosen)
    model.set_params(**{parameter: chosen}).fit(means[0], labels)
    output = head(test.visual, test.acoustic)
    assert output.fused is not None
    expected = torch.from_numpy(model.predict_proba(means[1])).float()
    torch.testing.assert_close(output.fused.softmax(-1), expected, atol=2e-3, rtol=0)
    assert output.visual is not None
    confusable = output.visual[test.labels != 0].argmax(1)
    assert 0.25 < (confusable == 1).double().mean() < 0.75  # the visual tokens do not separate classes 1 and 2


def test_strength_is_chosen_by_clips_if_there_is_one_speaker() -> None:
    training = learnable(90, seed=0)
    one, unknown = (HEADS["lda"](CONFIG, SHAPES) for _ in range(2))
    one.fit(replace(training, speakers=torch.zeros(90, dtype=torch.int64)))
    unknown.fit(training)
    assert torch.equal(one.get_buffer("chosen"), unknown.get_buffer("chosen"))
    assert (one.get_buffer("chosen") > 0).all()


def test_hidden_tokens_play_no_part_and_one_is_left() -> None:
    visual = tokens([5, 1, 0], 6, seed=0)
    layer = TokenDropout(0.6)
    assert layer.eval()(visual) is visual
    layer.train()(visual)
    generators = [torch.Generator().manual_seed(seed) for seed in range(4000)]
    masks = []
    for scores in layer.draw_noise(generators):
        layer.noise = scores
        masks.append(layer(visual).mask)
    kept = torch.stack(masks)
    assert (kept.any(2) == torch.tensor([True, True, False])).all()
    assert not (kept & ~visual.mask).any()
    # Each of five is left with a probability of 0.4, or as the last one: 0.4 + 0.6^5 / 5.
    assert kept[:, 0].double().mean() == pytest.approx(0.4 + 0.6**5 / 5, abs=0.01)


def test_moments_are_those_of_numpy_on_tokens_that_are_left() -> None:
    visual = tokens([4, 1, 0], 6, seed=0, filler=7.0)
    moments = masked_moments(visual.values, visual.mask)
    for row, count in ((0, 4), (1, 1)):
        values = visual.values[row, :count].numpy()
        expected = np.concatenate([values.mean(0), np.sqrt(values.var(0) + 1e-4)])
        np.testing.assert_allclose(moments[row].numpy(), expected, atol=1e-5)
    torch.testing.assert_close(moments[2], torch.cat([torch.zeros(6), torch.full((6,), 0.01)]))


def test_folded_standardisation_equals_standardised_tokens() -> None:
    visual = tokens([4, 3], 6, seed=0)._replace(values=tokens([4, 3], 6, seed=1).values * 5 + 35)
    scale, layer = Standardise(6), torch.nn.Linear(6, 4)
    scale.fit(visual)
    folded = torch.nn.functional.linear(visual.values, *scale.fold(layer))
    torch.testing.assert_close(folded, layer(scale(visual.values)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["linear", "lda"])
def test_closed_form_head_never_predicts_a_class_without_clips(name: str) -> None:
    training = learnable(90, seed=0)
    training = training.take((training.labels != 1).nonzero().ravel())
    head = HEADS[name](CONFIG, SHAPES)
    head.fit(training)
    output = head(training.visual, training.acoustic)
    assert output.fused is not None
    assert (output.fused.softmax(-1)[:, 1] == 0).all()
    assert (output.fused.argmax(1) == training.labels).double().mean() > 0.9


def test_majority_head_returns_the_frequencies_of_the_training_part() -> None:
    training = learnable(10, seed=0)  # classes 0, 1, 2 occur 4, 3, 3 times
    head = HEADS["majority"](CONFIG, SHAPES)
    head.fit(training)
    fused = head(training.visual, training.acoustic).fused
    assert fused is not None
    torch.testing.assert_close(fused.softmax(-1), torch.tensor([0.4, 0.3, 0.3]).expand(10, 3))


def test_official_head_attends_over_the_batch_in_training_as_the_authors_code() -> None:
    torch.manual_seed(0)
    head = OfficialHead(CONFIG, SHAPES).double()
    visual, acoustic = torch.randn(4, 256, dtype=torch.float64), torch.randn(4, 256, dtype=torch.float64)
    everyone = torch.ones(4, dtype=torch.bool)
    new_visual, new_acoustic = head.attend(visual, acoustic, everyone, everyone)
    assert torch.equal(new_visual[1:], visual[1:])
    assert torch.equal(new_acoustic[1:], acoustic[1:])
    state = head.state_dict()

    def attention(first: Tensor, others: Tensor, into: int, fn: int, out: int) -> Tensor:
        """Compute the same head by head, from the state dict with the authors' names."""

        def get(name: str) -> Tensor:
            return state[f"cross_attn_layers.0.{name}"]

        query = first @ get(f"{into}.weight").T + get(f"{into}.bias")
        rows = torch.cat([query, others])
        normal = (rows - rows.mean(1, keepdim=True)) / (rows.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        normal = normal * get(f"{fn}.norm.weight") + get(f"{fn}.norm.bias")
        q, k, v = (normal @ get(f"{fn}.fn.to_{name}.weight").T for name in "qkv")
        by_head = []
        for part in (slice(0, 32), slice(32, 64)):
            weights = torch.softmax(k[:, part] @ q[0, part] / 32**0.5, 0)
            by_head.append(weights @ v[:, part])
        answer = torch.cat(by_head) @ get(f"{fn}.fn.to_out.0.weight").T + get(f"{fn}.fn.to_out.0.bias")
        return (query[0] + answer) @ get(f"{out}.weight").T + get(f"{out}.bias")

    torch.testing.assert_close(new_acoustic[0], attention(acoustic[:1], visual[1:], 3, 5, 4))
    torch.testing.assert_close(new_visual[0], attention(visual[:1], acoustic[1:], 0, 2, 1))
    padded = torch.cat([visual, 9 * acoustic]), torch.cat([acoustic, 9 * visual])
    present = torch.arange(8) < 4
    for rows, expected in zip(head.attend(*padded, present, present), (new_visual, new_acoustic), strict=True):
        torch.testing.assert_close(rows[:4], expected)
    batch = tokens([3, 4, 2], 6, seed=1), tokens([2, 2, 2], 6, seed=2)
    head = head.float().eval()
    means = torch.stack([it[mask].mean(0) for it, mask in zip(batch[0].values, batch[0].mask, strict=True)])
    plain = head.classifier_layer(torch.relu(head.bottleneck_layer[0](means)))
    torch.testing.assert_close(head(*batch).visual, plain)


def test_official_head_requires_tokens_of_one_width() -> None:
    with pytest.raises(ParameterError, match="whose tokens are 6 and 5 wide; use one backbone"):
        OfficialHead(CONFIG, Shapes(6, 5, 3))


def test_classifier_is_shared_or_separate() -> None:
    shared, separate = (FdanHead(CONFIG.model_copy(update={"shared_classifier": it}), SHAPES) for it in (True, False))
    assert sum(it.numel() for it in separate.parameters()) - sum(it.numel() for it in shared.parameters()) == 16 * 3 + 3


def test_width_that_attention_cannot_divide_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ParameterError, match=r"width 10 cannot be shared by 4 attention_heads.*such as 12"):
        check({"width": 10}, HeadConfig, where="params.yaml: head")


def test_attention_weights_sum_to_one_over_present_tokens() -> None:
    head = FdanHead(CONFIG, SHAPES).eval()
    visual, acoustic = tokens([3, 1], 6, seed=0), tokens([2, 0], 6, seed=1)
    weights = head.attention(visual, acoustic)
    assert weights["visual"].shape == (2, 3, 3)
    assert weights["acoustic"].shape == (2, 2, 4)
    torch.testing.assert_close(weights["visual"].sum(-1), torch.ones(2, 3))
    assert weights["visual"][1, 0].tolist() == [1, 0, 0]  # without audio all weight is on the sink
    assert (weights["acoustic"][0, :, 1:] > 0).all()
    assert (weights["acoustic"][1, :, 2:] == 0).all()  # padding
    assert FdanHead(HeadConfig(width=16, attention_depth=0), SHAPES).attention(visual, acoustic) == {}


def test_learned_fusion_weights_the_modalities_that_are_present() -> None:
    torch.manual_seed(0)
    logits = {"visual": torch.randn(3, 4), "acoustic": torch.randn(3, 4)}
    present = {"visual": torch.tensor([True, True, False]), "acoustic": torch.tensor([True, False, True])}
    balance = torch.tensor([1.0, -0.5])
    share = 1 / (1 + math.exp(-1.5))  # the softmax of two
    both = logits["visual"][0].log_softmax(0) * share + logits["acoustic"][0].log_softmax(0) * (1 - share)
    expected = torch.stack([both, logits["visual"][1], logits["acoustic"][2]]).log_softmax(1)
    torch.testing.assert_close(fuse(logits, present, balance), expected)


def test_learned_fusion_prefers_the_informative_modality() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    noise = torch.randn(60, 2, 8, generator=generator)
    informative = noise + 3 * torch.nn.functional.one_hot(labels, 8)[:, None]
    visual, acoustic = (
        Tokens(values, torch.zeros(60, 2), torch.ones(60, 2) > 0) for values in (informative, noise.flip(0))
    )
    recipe = Recipe(
        HeadConfig(width=16, attention_depth=0, dropout=0, fusion="learned"),
        AlignmentConfig(name="none"),
        TrainConfig(epochs=20, learning_rate=0.01),
    )
    trained = train(recipe, Examples(visual, acoustic, labels), None, classes=3, seed=0)
    visual, acoustic = trained.head.state_dict()["balance"]
    assert visual > acoustic + 0.1
