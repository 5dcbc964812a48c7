"""Replicas that train together: each as if it were alone, by the textbook's optimiser."""

from dataclasses import replace

import pytest
import torch

from pipeline.dataset import Examples, Tokens
from pipeline.errors import TrainingError
from pipeline.heads import HEADS, HeadConfig
from pipeline.losses import ALIGNMENTS, AlignmentConfig
from pipeline.replicas import Replica, architecture, train_together
from pipeline.training import Recipe, TrainConfig, Trained, predict, uar

RECIPE = Recipe(
    HeadConfig(width=16, attention_heads=2, dropout=0.3),
    AlignmentConfig(weight=0.5),
    TrainConfig(epochs=6, batch_size=8, learning_rate=0.01),
)


def examples(count: int, *, views: int = 0) -> Examples:
    """Three classes that both modalities show, padded tokens, some clips that lack a modality."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3

    def modality(longest: int, absent: int) -> Tokens:
        values = torch.randn(count, longest, 8, generator=generator)
        values[:, :, :3] += 1.5 * torch.nn.functional.one_hot(labels, 3)[:, None]
        lengths = torch.randint(1, longest + 1, (count,), generator=generator)
        lengths[absent::11] = 0
        copies = torch.randn(views, count, longest, 8, generator=generator) if views else None
        times = torch.rand(count, longest, generator=generator)
        return Tokens(values, times, torch.arange(longest) < lengths[:, None], copies)

    return Examples(modality(5, 3), modality(3, 7), labels)


def replicas(recipes: list[Recipe], count: int) -> list[Replica]:
    """Replicas with other data, other numbers of clips and batches, and other seeds."""
    made = []
    for number, recipe in enumerate(recipes):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(number))
        trained = count - 20 - 9 * number  # the last batch is never full, and not always there
        made.append(Replica(recipe, order[:trained], order[trained : trained + 12 + number], seed=number))
    return made


def variants(recipe: Recipe) -> list[Recipe]:
    """Recipes of one architecture that differ in all that replicas of one program may differ in."""
    other = TrainConfig(
        epochs=6,
        batch_size=8,
        learning_rate=0.02,
        weight_decay=0.3,
        warmup=0.3,
        label_smoothing=0.0,
        gradient_norm=0.1,
        class_weights="balanced",
        patience=2,
    )
    return [recipe, replace(recipe, alignment=AlignmentConfig(weight=0.0)), replace(recipe, train=other)]


def assert_alike(together: Trained, alone: Trained, data: Examples, replica: Replica) -> None:
    assert together.curve[0].cross_entropy == pytest.approx(alone.curve[0].cross_entropy, abs=1e-5)
    assert together.curve[0].alignment == pytest.approx(alone.curve[0].alignment, abs=1e-5)
    assert replica.validation is not None
    assert [it.validation_uar for it in together.curve] == pytest.approx(
        [it.validation_uar for it in alone.curve], abs=1e-4
    )
    assert together.best_epoch == alone.best_epoch
    part = data.take(replica.validation)
    for name, values in predict(together.head, part).items():
        torch.testing.assert_close(values, predict(alone.head, part)[name], atol=1e-4, rtol=0, equal_nan=True)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_replica_in_company_ends_where_it_ends_alone(name: str) -> None:
    data = examples(80, views=2 if name == "fdan" else 0)
    recipe = replace(RECIPE, head=RECIPE.head.model_copy(update={"name": name}))
    members = replicas(variants(recipe), 80)
    together = train_together(data, members, classes=3)
    for result, member in zip(together, members, strict=True):
        (alone,) = train_together(data, [member], classes=3)
        assert (result.curve == []) == (name in ("linear", "majority"))
        if result.curve:
            assert_alike(result, alone, data, member)


@pytest.mark.parametrize("name", sorted(ALIGNMENTS))
def test_every_alignment_can_be_computed_for_many_at_once(name: str) -> None:
    data = examples(60)
    recipe = replace(RECIPE, alignment=AlignmentConfig(name=name, weight=0.5))
    members = replicas([recipe, recipe], 60)
    together = train_together(data, members, classes=3)
    for result, member in zip(together, members, strict=True):
        assert_alike(result, train_together(data, [member], classes=3)[0], data, member)
        assert (min(result.curve[-1].alignment) > 0) == (name != "none")


def test_replicas_learn() -> None:
    data = examples(120)
    gentle = AlignmentConfig(weight=0.1)
    longer = replace(RECIPE, alignment=gentle, train=RECIPE.train.model_copy(update={"epochs": 25}))
    members = replicas([longer] * 3, 120)
    for result, member in zip(train_together(data, members, classes=3), members, strict=True):
        assert member.validation is not None
        part = data.take(member.training)
        assert uar(predict(result.head, part)["fused"], part.labels) > 0.8
        assert result.curve[-1].cross_entropy < 0.7 * result.curve[0].cross_entropy


def test_a_loss_that_is_not_finite_names_epoch_batch_and_layer() -> None:
    data = examples(60)
    hot = replace(RECIPE, train=RECIPE.train.model_copy(update={"learning_rate": 1e30}))
    with pytest.raises(TrainingError, match=r"not finite at epoch 1, batch 1: .* in layer 1, layer 2; lower train"):
        train_together(data, replicas([RECIPE, hot], 60), classes=3)


def test_what_shapes_the_program_is_the_architecture_and_what_does_not_is_not() -> None:
    alike = {architecture(it) for it in variants(RECIPE)}
    assert len(alike) == 1
    others = [
        replace(RECIPE, head=RECIPE.head.model_copy(update={"width": 32})),
        replace(RECIPE, alignment=AlignmentConfig(name="coral")),
        replace(RECIPE, alignment=AlignmentConfig(kernel_num=3)),
        replace(RECIPE, train=RECIPE.train.model_copy(update={"batch_size": 16})),
        replace(RECIPE, train=RECIPE.train.model_copy(update={"epochs": 7})),
    ]
    assert not alike & {architecture(it) for it in others}
