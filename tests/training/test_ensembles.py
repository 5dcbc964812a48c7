"""Ensembles: each member trains as it would alone, and validation clips are answered by heads that do not know them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_checkpoints import card
from test_replicas import RECIPE, examples

from pipeline.base.errors import ParameterError, StoreError
from pipeline.heads.contract import HeadConfig, Shapes
from pipeline.heads.ensemble import Ensemble, as_one_head
from pipeline.heads.fdan import FdanHead
from pipeline.heads.table import HEADS
from pipeline.training.answers import predict, uar
from pipeline.training.checkpoints import load_head, save_head
from pipeline.training.ensembles import EnsembleRun, member_seed, train_ensembles
from pipeline.training.recipe import Recipe
from pipeline.training.replicas import Replica, train_together

ORDER = torch.randperm(80, generator=torch.Generator().manual_seed(0))
TRAINING, VALIDATION, TEST = ORDER[:40], ORDER[40:60], ORDER[60:]


def recipe(members: int, name: str = "fdan") -> Recipe:
    head = RECIPE.head.model_copy(update={"name": name})
    return replace(RECIPE, head=head, train=RECIPE.train.model_copy(update={"ensemble": members, "epochs": 3}))


@pytest.mark.parametrize("name", ["fdan", "concat", "visual"])
def test_an_ensemble_answers_the_mean_log_probabilities_of_heads_trained_alone(name: str) -> None:
    data = examples(80)
    runs = [EnsembleRun(recipe(3, name), TRAINING, VALIDATION, seed) for seed in (4, 5)]
    trained = train_ensembles(data, runs, classes=3)
    for run, result in zip(runs, trained, strict=True):
        seeds = [member_seed(run.seed, number) for number in range(3)]
        assert len({*seeds}) == 3
        for clips, part, answers in (
            (torch.cat([TRAINING, VALIDATION]), TEST, predict(result.head, data.take(TEST))),
            (TRAINING, VALIDATION, result.validation),
        ):
            alone = [
                train_together(data, [Replica(run.recipe, clips, None, seed)], classes=3)[0].head for seed in seeds
            ]
            each = [predict(head, data.take(part)) for head in alone]
            for answer, values in answers.items():
                mean = torch.stack([it[answer].log() for it in each]).mean(0).softmax(-1)
                torch.testing.assert_close(values, mean, atol=1e-4, rtol=0, equal_nan=True)
        assert result.validation_uar == uar(result.validation["fused"], data.labels[VALIDATION])


def test_answers_for_validation_clips_do_not_depend_on_their_labels() -> None:
    data = examples(80)
    labels = data.labels.clone()
    labels[VALIDATION] = 0
    run = EnsembleRun(recipe(2), TRAINING, VALIDATION, 0)
    one, other = (train_ensembles(it, [run], classes=3)[0] for it in (data, replace(data, labels=labels)))
    for name, values in one.validation.items():
        torch.testing.assert_close(values, other.validation[name], rtol=0, atol=0, equal_nan=True)
    states = one.head.state_dict(), other.head.state_dict()
    assert not all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_run_on_all_clips_has_no_validation() -> None:
    (result,) = train_ensembles(examples(80), [EnsembleRun(recipe(2), ORDER, None, 0)], classes=3)
    assert (result.validation, len(result.curve)) == ({}, 3)
    assert math.isnan(result.validation_uar) and math.isnan(result.curve[-1].validation_uar)


def test_a_head_without_gradients_has_one_member() -> None:
    (result,) = train_ensembles(examples(80), [EnsembleRun(recipe(5, "majority"), TRAINING, VALIDATION, 0)], classes=3)
    assert type(result.head).__name__ == "MajorityHead"
    assert result.curve == [] and result.validation_uar == pytest.approx(1 / 3)


def test_ensemble_attends_as_its_members_do_on_average() -> None:
    data = examples(6)
    heads = [FdanHead(HeadConfig(width=8, attention_heads=2), Shapes(8, 8, 3)).eval() for _ in range(2)]
    tokens = data.visual.batches(torch.arange(6)), data.acoustic.batches(torch.arange(6))
    each = [head.attention(*tokens) for head in heads]
    for name, weights in Ensemble(heads).attention(*tokens).items():
        torch.testing.assert_close(weights, (each[0][name] + each[1][name]) / 2)
    assert Ensemble([HEADS["majority"](HeadConfig(), Shapes(8, 8, 3))]).attention(*tokens) == {}


def test_saved_ensemble_answers_as_before(tmp_path: Path) -> None:
    data = examples(12)
    built = [HEADS["fdan"](HeadConfig(width=8), Shapes(8, 8, 3)) for _ in range(3)]
    origin = card().model_copy(update={"shapes": Shapes(8, 8, 3)})
    save_head(as_one_head(built), origin, tmp_path / "three.safetensors")
    loaded, read = load_head(tmp_path / "three.safetensors")
    assert read.members == 3
    for name, values in predict(as_one_head(built), data).items():
        torch.testing.assert_close(values, predict(loaded, data)[name], equal_nan=True)


@pytest.mark.parametrize("members", [0, 1, 4, 101])
def test_a_card_with_another_number_of_members_is_refused(members: int, tmp_path: Path) -> None:
    built = [HEADS["fdan"](HeadConfig(width=8), Shapes(6, 6, 3)) for _ in range(3)]
    path = tmp_path / "three.safetensors"
    save_head(as_one_head(built), card(), path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"members\\":3', b'\\"members\\":%d' % members))
    with pytest.raises((StoreError, ParameterError)):
        load_head(path)
