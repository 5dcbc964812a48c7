"""Replicas that train together: each as it would alone, with AdamW as in PyTorch."""

from dataclasses import replace

import pytest
import torch

from pipeline.alignments.contract import Alignment, AlignmentConfig
from pipeline.alignments.schedule import alignment_weights
from pipeline.alignments.table import ALIGNMENTS
from pipeline.base.errors import TrainingError
from pipeline.heads.contract import HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.fdan import FdanHead
from pipeline.heads.table import HEADS
from pipeline.store.tokens import Tokens
from pipeline.training.answers import predict, uar
from pipeline.training.losses import alignment_losses, classification_loss, learning_rates
from pipeline.training.recipe import Recipe, TrainConfig, build_head
from pipeline.training.replicas import Replica, ReplicaBatch, TrainedReplica, architecture, train_together

RECIPE = Recipe(
    HeadConfig(width=16, attention_heads=2, dropout=0.3),
    AlignmentConfig(weight=0.5),
    TrainConfig(epochs=5, batch_size=8, learning_rate=0.003, modality_dropout=0.3),
)


def examples(count: int, *, views: int = 0) -> Examples:
    """Return clips of three classes that both modalities show, with padding; some clips lack a modality."""
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
    """Return replicas that differ in data, numbers of clips and batches, and seeds."""
    members = []
    for number, recipe in enumerate(recipes):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(number))
        trained = count - 20 - 9 * number  # the last batch is never full, and some replicas lack it
        members.append(Replica(recipe, order[:trained], order[trained : trained + 12 + number], seed=number))
    return members


def variants(recipe: Recipe) -> list[Recipe]:
    """Return recipes of one architecture that differ in every other setting."""
    other = TrainConfig(
        epochs=5,
        batch_size=8,
        learning_rate=0.006,
        weight_decay=0.3,
        warmup=0.3,
        label_smoothing=0.0,
        gradient_norm=0.1,
        class_weights="balanced",
        modality_dropout=0.3,
    )
    return [recipe, replace(recipe, alignment=AlignmentConfig(weight=0.0)), replace(recipe, train=other)]


def assert_same_result(together: TrainedReplica, alone: TrainedReplica, data: Examples, replica: Replica) -> None:
    assert together.curve[0].cross_entropy == pytest.approx(alone.curve[0].cross_entropy, abs=1e-5)
    assert together.curve[0].alignment == pytest.approx(alone.curve[0].alignment, abs=1e-5)
    assert replica.validation is not None
    assert [it.validation_uar for it in together.curve] == pytest.approx(
        [it.validation_uar for it in alone.curve], abs=1e-4
    )
    part = data.take(replica.validation)
    for name, values in predict(together.head, part).items():
        torch.testing.assert_close(values, predict(alone.head, part)[name], atol=1e-4, rtol=0, equal_nan=True)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_replica_in_a_group_trains_as_it_does_alone(name: str) -> None:
    data = examples(80, views=2 if name == "fdan" else 0)
    recipe = replace(RECIPE, head=RECIPE.head.model_copy(update={"name": name}))
    members = replicas(variants(recipe), 80)
    together = train_together(data, members, classes=3)
    for result, member in zip(together, members, strict=True):
        (alone,) = train_together(data, [member], classes=3)
        assert (result.curve == []) == (name in ("lda", "linear", "majority"))
        if result.curve:
            assert_same_result(result, alone, data, member)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
@pytest.mark.parametrize("name", sorted(HEADS))
def test_gpu_changes_last_digits_only(name: str) -> None:
    data = examples(80, views=2 if name == "fdan" else 0)
    members = replicas(variants(replace(RECIPE, head=RECIPE.head.model_copy(update={"name": name}))), 80)
    on_gpu, on_cpu = (train_together(data, members, classes=3, device=device) for device in ("cuda", "cpu"))
    for result, expected in zip(on_gpu, on_cpu, strict=True):
        for epoch, same in zip(result.curve[:1], expected.curve[:1], strict=True):
            assert epoch.cross_entropy == pytest.approx(same.cross_entropy, abs=1e-4)
            assert epoch.alignment == pytest.approx(same.alignment, abs=1e-4)
        for answer, values in predict(result.head, data).items():
            torch.testing.assert_close(values, predict(expected.head, data)[answer], atol=0.02, rtol=0, equal_nan=True)


@pytest.mark.parametrize("name", sorted(ALIGNMENTS))
def test_every_alignment_can_be_mapped_over_replicas(name: str) -> None:
    data = examples(60)
    recipe = replace(RECIPE, alignment=AlignmentConfig(name=name, weight=0.5))
    members = replicas([recipe, recipe], 60)
    together = train_together(data, members, classes=3)
    for result, member in zip(together, members, strict=True):
        assert_same_result(result, train_together(data, [member], classes=3)[0], data, member)
        assert (min(result.curve[-1].alignment) > 0) == (name != "none")


class Scaled(FdanHead):
    """A head with a scalar and a three-dimensional parameter."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Start with values other than 0 and 1, which would hide mistakes."""
        super().__init__(config, shapes)
        self.number = torch.nn.Parameter(torch.tensor(0.7))
        self.cube = torch.nn.Parameter(torch.rand(2, 1, shapes.classes))

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Scale and shift the visual logits."""
        output = super().forward(visual, acoustic)
        assert output.visual is not None
        return output._replace(visual=output.visual * self.number + self.cube.sum((0, 1)))


def test_parameters_of_any_shape_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "scaled", Scaled)
    data = examples(60)
    recipe = replace(RECIPE, head=RECIPE.head.model_copy(update={"name": "scaled"}))
    members = replicas([recipe, recipe], 60)
    for result, member in zip(train_together(data, members, classes=3), members, strict=True):
        assert_same_result(result, train_together(data, [member], classes=3)[0], data, member)
        assert result.head.state_dict()["number"] != 0.7


def test_training_equals_adamw_of_torch_on_clipped_gradients() -> None:
    data = examples(40)
    absolute = RECIPE.alignment.model_copy(update={"unit": "absolute"})
    settings = TrainConfig(
        epochs=4, batch_size=64, learning_rate=0.01, weight_decay=0.3, gradient_norm=2, modality_dropout=0
    )
    recipe = Recipe(RECIPE.head.model_copy(update={"dropout": 0, "token_dropout": 0}), absolute, settings)
    (result,) = train_together(data, [Replica(recipe, torch.arange(40), None, seed=0)], classes=3)

    torch.manual_seed(0)
    head = build_head(recipe.head, data, 3)
    head.fit(data)
    optimiser = torch.optim.AdamW(head.parameters(), weight_decay=0.3)
    align = ALIGNMENTS["lmmd"](recipe.alignment)
    clipped = []
    for rate, share in zip(learning_rates(settings, 4), alignment_weights(recipe.alignment, 4), strict=True):
        output = head(data.visual, data.acoustic)
        loss = classification_loss(output, data, smoothing=0.1, weights=torch.ones(3))
        loss = loss + share * alignment_losses(output, data, align, recipe.alignment).sum()
        optimiser.zero_grad()
        loss.backward()
        clipped.append(bool(torch.nn.utils.clip_grad_norm_(head.parameters(), 2) > 2))
        optimiser.param_groups[0]["lr"] = float(rate)
        optimiser.step()
    assert set(clipped) == {True, False}
    for name, value in head.state_dict().items():
        torch.testing.assert_close(
            result.head.state_dict()[name], value, atol=2e-4, rtol=1e-3
        )  # Adam enlarges rounding


def test_replicas_learn() -> None:
    data = examples(120)
    weak = AlignmentConfig(weight=0.1)
    longer = replace(RECIPE, alignment=weak, train=RECIPE.train.model_copy(update={"epochs": 25}))
    members = replicas([longer] * 3, 120)
    for result, member in zip(train_together(data, members, classes=3), members, strict=True):
        assert member.validation is not None
        part = data.take(member.training)
        assert uar(predict(result.head, part)["fused"], part.labels) > 0.8
        assert result.curve[-1].cross_entropy < 0.7 * result.curve[0].cross_entropy


def test_initial_unit_makes_the_scale_of_an_alignment_irrelevant(monkeypatch: pytest.MonkeyPatch) -> None:
    def build_large(config: AlignmentConfig) -> Alignment:
        align = ALIGNMENTS["coral"](config)
        return lambda *arguments: 1000 * align(*arguments)

    monkeypatch.setitem(ALIGNMENTS, "large", build_large)
    data = examples(60)

    def end(name: str, unit: str, weight: float = 5.0) -> torch.Tensor:
        config = AlignmentConfig.model_validate({"name": name, "weight": weight, "unit": unit, "gamma": 1})
        member = Replica(replace(RECIPE, alignment=config), torch.arange(60), None, 0)
        (trained,) = train_together(data, [member], classes=3)
        return torch.cat([it.flatten() for it in trained.head.state_dict().values()])

    torch.testing.assert_close(end("coral", "initial"), end("large", "initial"), atol=1e-4, rtol=0)
    assert (end("coral", "initial") - end("coral", "initial", weight=0)).abs().max() > 1e-2
    assert (end("coral", "absolute") - end("large", "absolute")).abs().max() > 1e-2


def test_modality_dropout_hides_one_of_two_modalities_of_its_share() -> None:
    data, member = examples(400), Replica(RECIPE, torch.arange(400), None, 0)
    batch = ReplicaBatch(data, [member], [build_head(RECIPE.head, data, 3)], classes=3, device=torch.device("cpu"))
    index = torch.arange(400).expand(1, 400)
    tokens = [it.batches(index) for it in (data.visual, data.acoustic)]
    visual, acoustic = batch._keep_modalities(tokens, [torch.Generator().manual_seed(0)])
    both = data.visual.present & data.acoustic.present
    assert (visual | acoustic).all()
    assert visual[0, ~both].all() and acoustic[0, ~both].all()
    for kept in (visual[0, both], acoustic[0, both]):
        assert 1 - kept.double().mean() == pytest.approx(0.15, abs=0.05)


def test_loss_that_is_not_finite_is_an_error_with_epoch_batch_and_layer() -> None:
    data = examples(60)
    diverging = replace(RECIPE, train=RECIPE.train.model_copy(update={"learning_rate": 1e30}))
    with pytest.raises(TrainingError, match=r"not finite at epoch 1, batch 1: .* in layer 1, layer 2; lower train"):
        train_together(data, replicas([RECIPE, diverging], 60), classes=3)


def test_architecture_holds_the_settings_that_replicas_must_share() -> None:
    shared = {architecture(it) for it in variants(RECIPE)}
    assert len(shared) == 1
    others = [
        replace(RECIPE, head=RECIPE.head.model_copy(update={"width": 32})),
        replace(RECIPE, alignment=AlignmentConfig(name="coral")),
        replace(RECIPE, alignment=AlignmentConfig(kernel_num=3)),
        replace(RECIPE, train=RECIPE.train.model_copy(update={"batch_size": 16})),
        replace(RECIPE, train=RECIPE.train.model_copy(update={"epochs": 7})),
        replace(RECIPE, train=RECIPE.train.model_copy(update={"modality_dropout": 0.1})),
    ]
    assert not shared & {architecture(it) for it in others}
