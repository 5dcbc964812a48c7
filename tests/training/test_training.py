"""Training: it learns, depends on the seed alone, and stops with a message if it cannot continue."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from alone import train
from sklearn.utils.class_weight import compute_class_weight

from pipeline.alignments.contract import AlignmentConfig
from pipeline.alignments.lmmd import lmmd
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.errors import ParameterError, TrainingError
from pipeline.heads.contract import HeadConfig, HeadOutput
from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens, TokenSource
from pipeline.training.answers import predict, uar
from pipeline.training.losses import alignment_losses, class_weights, classification_loss, learning_rates
from pipeline.training.recipe import Recipe, TrainConfig, build_head

RECIPE = Recipe(
    HeadConfig(width=16, attention_heads=2, dropout=0.1),
    AlignmentConfig(weight=0.1),
    TrainConfig(epochs=20, batch_size=16, learning_rate=0.01),
)


def examples(count: int, *, seed: int, shift: float = 1.5, noise: float = 1.0) -> Examples:
    """Return clips of three classes; each modality separates one class, so only both together separate all."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3

    def modality(special: int, tokens: int) -> Tokens:
        values = noise * torch.randn(count, tokens, 8, generator=generator)
        values[:, :, 0] += shift * (labels == special)[:, None]
        return Tokens(
            values, torch.rand(count, tokens, generator=generator), torch.ones(count, tokens, dtype=torch.bool)
        )

    return Examples(modality(0, 4), modality(1, 3), labels)


def without(tokens: TokenSource, rows: slice) -> Tokens:
    mask = tokens.mask.clone()
    mask[rows] = False
    return Tokens(tokens.values, tokens.times, mask)


def test_fusion_learns_what_neither_modality_shows_alone() -> None:
    trained = train(RECIPE, examples(90, seed=0), examples(45, seed=1), classes=3, seed=0)
    test = examples(300, seed=2)
    figures = {name: uar(values, test.labels) for name, values in predict(trained.head, test).items()}
    assert figures["fused"] > 0.75  # one modality alone cannot exceed 2/3
    assert trained.curve[-1].cross_entropy < trained.curve[0].cross_entropy


def test_result_is_reproducible_for_a_seed() -> None:
    runs = [train(RECIPE, examples(30, seed=0), examples(15, seed=1), classes=3, seed=seed) for seed in (3, 3, 4)]
    states = [torch.cat([value.flatten() for value in run.head.state_dict().values()]) for run in runs]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert runs[0].curve == runs[1].curve


def test_head_is_that_of_the_last_epoch() -> None:
    validation = examples(45, seed=1)
    trained = train(RECIPE, examples(30, seed=0), validation, classes=3, seed=0)
    assert len(trained.curve) == 20
    score = uar(predict(trained.head, validation)["fused"], validation.labels)
    assert score == pytest.approx(trained.curve[-1].validation_uar)
    without_validation = train(RECIPE, examples(30, seed=0), None, classes=3, seed=0)
    assert all(math.isnan(it.validation_uar) for it in without_validation.curve)
    states = [it.head.state_dict() for it in (trained, without_validation)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_tokens_are_standardised_by_the_training_part_alone() -> None:
    training, validation = examples(30, seed=0), examples(15, seed=1)
    tokens = validation.visual
    scaled = replace(validation, visual=Tokens(tokens.values * 1000, tokens.times, tokens.mask))
    heads = [train(RECIPE, training, it, classes=3, seed=0).head for it in (validation, scaled)]
    means = [head.state_dict()["encode_visual.standardise.mean"] for head in heads]
    assert torch.equal(means[0], means[1])
    torch.testing.assert_close(means[0], training.visual.values.mean((0, 1)))


def test_clips_that_lack_a_modality_are_trained_on_and_predicted() -> None:
    whole = examples(60, seed=0)
    partial = replace(
        whole, visual=without(whole.visual, slice(0, 10)), acoustic=without(whole.acoustic, slice(10, 20))
    )
    trained = train(RECIPE, partial, examples(15, seed=1), classes=3, seed=0)
    probabilities = predict(trained.head, partial)
    assert torch.isnan(probabilities["visual"][:10]).all()
    assert torch.isnan(probabilities["acoustic"][10:20]).all()
    torch.testing.assert_close(probabilities["fused"].sum(1), torch.ones(60))
    torch.testing.assert_close(probabilities["fused"][:10], probabilities["acoustic"][:10])


def test_losses_ignore_a_missing_modality() -> None:
    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(4, 5, generator=generator) for _ in range(2)]
    logits = torch.randn(4, 3, generator=generator)
    output = HeadOutput(logits, torch.randn(4, 3, generator=generator), layers[:1], layers[1:])
    batch = examples(4, seed=0)
    batch = replace(batch, visual=without(batch.visual, slice(0, 1)))
    changed = output._replace(
        visual=logits.index_fill(0, torch.tensor([0]), 50.0),
        visual_layers=[layers[0].index_fill(0, torch.tensor([0]), 50.0)],
    )

    def distance(a: torch.Tensor, b: torch.Tensor, wa: torch.Tensor, wb: torch.Tensor) -> torch.Tensor:
        return (a * wa.sum(1, keepdim=True)).sum() - (b * wb.sum(1, keepdim=True)).sum() + wa.sum() + wb.sum()

    for loss in (
        lambda it: classification_loss(it, batch, smoothing=0.1, weights=torch.tensor([1.0, 2.0, 3.0])),
        lambda it: alignment_losses(it, batch, distance, AlignmentConfig()),
    ):
        torch.testing.assert_close(loss(output), loss(changed))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [torch.ones(3), torch.tensor([0.5, 1.0, 4.0])])
def test_loss_is_the_cross_entropy_of_torch_summed_over_modalities(weights: torch.Tensor, smoothing: float) -> None:
    batch = examples(6, seed=0)
    logits = [torch.randn(6, 3) for _ in range(3)]
    each = [
        torch.nn.functional.cross_entropy(it, batch.labels, weight=weights, label_smoothing=smoothing) for it in logits
    ]
    for output, parts in (
        (HeadOutput(logits[0], logits[1], [], []), each[:2]),
        (HeadOutput(None, logits[1], [], [], fused=logits[2]), each[1:]),
    ):
        loss = classification_loss(output, batch, smoothing=smoothing, weights=weights)
        torch.testing.assert_close(loss, torch.stack(parts).sum())


def test_logits_without_the_other_modality_are_learned_from_clips_with_both() -> None:
    batch = examples(6, seed=0)
    batch = replace(batch, visual=without(batch.visual, slice(0, 2)), acoustic=without(batch.acoustic, slice(2, 3)))
    video_only, audio_only = torch.randn(6, 3), torch.randn(6, 3)
    output = HeadOutput(None, None, [], [], video_only=video_only, audio_only=audio_only)
    expected = sum(torch.nn.functional.cross_entropy(it[3:], batch.labels[3:]) for it in (video_only, audio_only))
    torch.testing.assert_close(classification_loss(output, batch, smoothing=0.0, weights=torch.ones(3)), expected)


def test_learning_rate_warms_up_linearly_and_decays_along_a_cosine() -> None:
    rates = learning_rates(TrainConfig(learning_rate=0.1, warmup=0.2), 20)
    assert rates[:4].tolist() == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert [float(rates[step]) for step in (4, 12)] == pytest.approx([0.1, 0.05])
    assert 0 < rates[-1] < 0.001
    assert learning_rates(TrainConfig(learning_rate=0.1, warmup=0), 3)[0] == pytest.approx(0.1)


def test_balanced_class_weights_equal_those_of_scikit_learn() -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 2, 2, 3])
    balanced = class_weights(TrainConfig(class_weights="balanced"), labels, 4)
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels.numpy())
    torch.testing.assert_close(balanced[[0, 2, 3]], torch.tensor(expected, dtype=torch.float32))
    assert class_weights(TrainConfig(), labels, 4).tolist() == [1, 1, 1, 1]


def test_predicted_labels_are_the_probabilities_of_the_head() -> None:
    batch = examples(6, seed=0)
    output = HeadOutput(torch.randn(6, 3), torch.randn(6, 3), [torch.randn(6, 4)], [torch.randn(6, 4)])
    config = AlignmentConfig(visual_labels="given", acoustic_labels="predicted")
    truth = torch.nn.functional.one_hot(batch.labels, 3).float()
    assert output.visual_layers and output.acoustic is not None
    expected = lmmd(output.visual_layers[0], output.acoustic_layers[0], truth, output.acoustic.softmax(1))
    result = alignment_losses(output, batch, ALIGNMENTS["lmmd"](config), config)
    torch.testing.assert_close(result, expected[None])
    given = alignment_losses(output, batch, ALIGNMENTS["lmmd"](config), AlignmentConfig())
    assert not torch.isclose(result, given)


def test_layer_weights_scale_the_alignment_of_each_layer() -> None:
    data = examples(30, seed=0), examples(15, seed=1)

    def end(**alignment: Any) -> torch.Tensor:
        recipe = replace(RECIPE, alignment=AlignmentConfig(gamma=1, **alignment))
        return torch.cat([it.flatten() for it in train(recipe, *data, classes=3, seed=0).head.state_dict().values()])

    torch.testing.assert_close(end(weight=0.5), end(weight=0.125, layer_weights=(4.0, 4.0)))
    assert torch.equal(end(weight=0.0), end(weight=0.3, layer_weights=(0.0, 0.0)))
    assert not torch.allclose(end(weight=0.3, layer_weights=(0.0, 1.0)), end(weight=0.3, layer_weights=(1.0, 0.0)))
    with pytest.raises(ParameterError, match=r"layer_weights has 3 numbers, but the head fdan aligns 2 layers"):
        end(layer_weights=(1.0, 1.0, 1.0))


def test_answer_of_one_modality_is_that_of_clips_without_the_other() -> None:
    trained = train(RECIPE, examples(60, seed=0), examples(15, seed=1), classes=3, seed=0)
    test = examples(9, seed=2)
    silent = replace(test, acoustic=without(test.acoustic, slice(None)))
    answers, expected = predict(trained.head, test), predict(trained.head, silent)
    torch.testing.assert_close(answers["video_only"], expected["fused"])
    assert torch.isnan(expected["audio_only"]).all()
    assert not torch.allclose(answers["video_only"], answers["visual"])  # which has attended to the sound
    visual = build_head(HeadConfig(name="visual"), test, 3)
    assert torch.isnan(predict(visual, test)["audio_only"]).all()
    blind = replace(test, visual=without(test.visual, slice(3)))
    assert torch.isnan(predict(visual, blind)["fused"]).any(1).tolist() == [True] * 3 + [False] * 6


def test_a_branch_that_was_not_trained_gives_no_answer() -> None:
    trained = train(RECIPE, examples(60, seed=0), examples(15, seed=1), classes=3, seed=0)
    test = examples(9, seed=2)
    answers = predict(trained.head, test, trained=("acoustic",))
    torch.testing.assert_close(answers["fused"], predict(trained.head, test)["audio_only"])
    assert torch.isnan(answers["visual"]).all() and torch.isnan(answers["video_only"]).all()
    nothing = predict(trained.head, replace(test, acoustic=without(test.acoustic, slice(None))), trained=("acoustic",))
    assert all(torch.isnan(values).all() for values in nothing.values())


def test_loss_that_is_not_finite_stops_training_with_its_epoch() -> None:
    diverging = RECIPE.train.model_copy(update={"learning_rate": 1e30})
    recipe = replace(RECIPE, alignment=AlignmentConfig(name="none"), train=diverging)
    with pytest.raises(TrainingError, match=r"not finite at epoch 1, batch \d.*lower train.learning_rate"):
        train(recipe, examples(30, seed=0), None, classes=3, seed=0)


def test_uar_is_the_mean_of_the_recalls() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    always_zero = torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3)
    assert uar(always_zero, labels) == 0.5
