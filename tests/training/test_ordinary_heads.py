"""Heads of ordinary PyTorch: trained one by one where replicas cannot be vectorised, with the same results."""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ordinary_heads import HEADS_ONE_BY_ONE, BatchNorm, Ordinary, Transformer
from test_checkpoints import card
from test_replicas import RECIPE, assert_same_result, examples, replicas, variants
from torch import nn

from pipeline.base.errors import ParameterError
from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.fdan import FdanHead
from pipeline.heads.official import OfficialHead
from pipeline.heads.table import HEADS
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.store.tokens import Tokens
from pipeline.training import _vectorising
from pipeline.training import replicas as replicas_module
from pipeline.training.answers import predict
from pipeline.training.checkpoints import load_head, save_head
from pipeline.training.corpus import Corpus
from pipeline.training.ensembles import EnsembleRun, train_ensembles
from pipeline.training.recipe import Recipe, Trained
from pipeline.training.replicas import Replica, TrainedReplica, train_together
from pipeline.training.runs import train_group

SETTINGS = RECIPE.train.model_copy(update={"learning_rate": 0.01, "epochs": 4})


@pytest.fixture(autouse=True)
def _no_earlier_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    _vectorising.log_once.cache_clear()
    monkeypatch.setattr(replicas_module, "_notes", {})


def recipe(name: str) -> Recipe:
    return replace(RECIPE, head=RECIPE.head.model_copy(update={"name": name}), train=SETTINGS)


def bits(trained: TrainedReplica) -> dict[str, bytes]:
    """Return the bytes of everything that a head has learned, and its curve."""
    state = {name: value.numpy().tobytes() for name, value in trained.head.state_dict().items()}
    return state | {"curve": repr(trained.curve).encode()}


@pytest.mark.parametrize("name", sorted(HEADS_ONE_BY_ONE))
def test_head_that_cannot_be_vectorised_trains_as_alone_and_says_why(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    head, reason = HEADS_ONE_BY_ONE[name]
    monkeypatch.setitem(HEADS, name, head)
    caplog.set_level(logging.INFO)
    data = examples(80)
    members = replicas([recipe(name)] * 2, 80)
    together = train_together(data, members, classes=3)
    for result, member in zip(together, members, strict=True):
        torch.manual_seed(99)  # whatever has used the global generator before
        (alone,) = train_together(data, [member], classes=3)
        assert bits(alone) == bits(result)
        assert result.curve[-1].cross_entropy < 0.97 * result.curve[0].cross_entropy
    assert bits(together[0]) != bits(together[1])
    (line,) = caplog.messages
    assert line == together[0].note
    assert line.startswith(f"head {name} is trained replica by replica, about 2 times slower on a CPU: ")
    assert re.search(reason, line), line

    saved = card(name).model_copy(update={"shapes": Shapes(8, 8, 3), "head": recipe(name).head})
    save_head(together[0].head, saved, tmp_path / "head.safetensors")
    loaded, _ = load_head(tmp_path / "head.safetensors")
    expected = predict(together[0].head, data)
    for answer, values in predict(loaded, data).items():
        torch.testing.assert_close(values, expected[answer], rtol=0, atol=0, equal_nan=True)


class ForcedFdan(FdanHead):
    """The default head, one by one."""

    vectorise = False


class ForcedOfficial(OfficialHead):
    """A head with random orders of the batch, one by one."""

    vectorise = False


def test_both_ways_of_training_agree_on_the_default_head(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(HEADS, "forced", ForcedFdan)
    caplog.set_level(logging.INFO)
    data = examples(80, views=2)
    results = {}
    for name in ("fdan", "forced"):
        head = RECIPE.head.model_copy(update={"name": name})
        members = replicas(variants(replace(RECIPE, head=head)), 80)
        results[name] = train_together(data, members, classes=3)
    for one_by_one, together, member in zip(results["forced"], results["fdan"], members, strict=True):
        assert_same_result(one_by_one, together, data, member)
    assert [it.partition("CPU: ")[2] for it in caplog.messages] == ["it says `vectorise = False`"]


def test_random_orders_fit_a_last_batch_that_is_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "forced", ForcedOfficial)
    (result,) = train_together(examples(60), replicas([recipe("forced")], 60), classes=3)
    assert result.curve[-1].validation_uar > 0.7


class Demanding(BatchNorm):
    """Asks for the impossible."""

    vectorise = True


def test_head_that_asks_for_the_impossible_is_an_error_that_names_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "demanding", Demanding)
    reason = (
        r"head demanding says `vectorise = True`, but its layer `encoder` \(BatchNorm1d\) cannot be vectorised; remove"
    )
    with pytest.raises(ParameterError, match=reason):
        train_together(examples(60), replicas([recipe("demanding")], 60), classes=3)


@pytest.mark.parametrize(
    ("layer", "is_obstacle"),
    [
        (nn.LSTMCell(2, 2), True),
        (nn.SyncBatchNorm(2), True),
        (nn.InstanceNorm1d(2), False),
        (nn.InstanceNorm1d(2, track_running_stats=True), True),
        (nn.Dropout(0.0), False),
        (nn.AlphaDropout(0.1), True),
        (nn.MultiheadAttention(4, 2), False),
        (nn.MultiheadAttention(4, 2, dropout=0.1), True),
        (nn.RReLU(), True),
        (nn.LayerNorm(2), False),
    ],
    ids=str,
)
def test_layers_that_stand_in_the_way(layer: nn.Module, is_obstacle: bool) -> None:
    head = Head()
    head.inner = nn.Sequential(nn.Linear(2, 2), layer)
    assert (_vectorising.layer_obstacle(head) or "").startswith("its layer `inner.1`") == is_obstacle


class Attentive(Transformer):
    """Self-attention without dropout, which can be vectorised."""

    vectorise = True

    def build_encoder(self) -> nn.Module:
        """One layer."""
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True), 1)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_self_attention_without_dropout_trains_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "attentive", Attentive)
    data = examples(60)
    members = replicas([recipe("attentive")] * 2, 60)
    for result, member in zip(train_together(data, members, classes=3), members, strict=True):
        assert not result.note
        assert_same_result(result, train_together(data, [member], classes=3)[0], data, member)


def test_batch_statistics_are_those_of_real_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither padding nor a last batch of a single clip may reach batch norm."""
    monkeypatch.setitem(HEADS, "batch_norm", BatchNorm)
    data = examples(60)
    data.visual.values.add_(50)
    data.acoustic.values.add_(50)
    for clips, batches in ((33, 4), (34, 5)):  # with a batch of 8, 1 and 2 clips are left
        index = torch.arange(60)[data.visual.present & data.acoustic.present][:clips]
        member = Replica(
            replace(recipe("batch_norm"), train=SETTINGS.model_copy(update={"modality_dropout": 0.0})), index, None, 0
        )
        (result,) = train_together(data, [member], classes=3)
        state = result.head.state_dict()
        assert state["encoder.num_batches_tracked"] == 2 * batches * SETTINGS.epochs  # it is used for both modalities
        assert state["encoder.running_var"].max() < 100


class Frozen(Ordinary):
    """A head whose projection is not trained."""

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Freeze it."""
        super().__init__(config, shapes)
        self.project.requires_grad_(False)


class FrozenOneByOne(Frozen):
    """The same, one by one."""

    vectorise = False


@pytest.mark.parametrize("kind", [Frozen, FrozenOneByOne])
def test_frozen_parameters_stay_as_they_are(kind: type[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "frozen", kind)
    data = examples(60)
    members = replicas([recipe("frozen")] * 2, 60)
    for result, member in zip(train_together(data, members, classes=3), members, strict=True):
        assert bool(result.note) == (kind is FrozenOneByOne)
        assert_same_result(result, train_together(data, [member], classes=3)[0], data, member)
        torch.manual_seed(member.seed)
        untrained, trained = kind(recipe("frozen").head, Shapes(8, 8, 3)).state_dict(), result.head.state_dict()
        changed = {name.partition(".")[0] for name, value in untrained.items() if not torch.equal(value, trained[name])}
        assert changed == {"classify"}


def test_an_ensemble_of_heads_that_train_one_by_one_answers_out_of_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "torch_dropout"
    monkeypatch.setitem(HEADS, name, HEADS_ONE_BY_ONE[name][0])
    settings = replace(recipe(name), train=SETTINGS.model_copy(update={"ensemble": 2, "epochs": 2}))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    runs = [EnsembleRun(settings, order[:30], order[30:45], seed) for seed in (0, 1)]
    together = train_ensembles(examples(60), runs, classes=3)
    for result, run in zip(together, runs, strict=True):
        (alone,) = train_ensembles(examples(60), [run], classes=3)
        assert "(Dropout)" in result.note
        for answer, values in alone.validation.items():
            torch.testing.assert_close(result.validation[answer], values, rtol=0, atol=0, equal_nan=True)


class FarPool(Pool):
    """A pool whose workers' logs nobody reads."""

    def submit(self, function: Callable[[Any], Any], argument: Any, **_: Any) -> Callable[[], Any]:
        """Return what a worker would."""
        return lambda: [Trained(Head(), [], {}, 0.0, "why it is slow")] * 2


def test_the_reason_is_logged_once_where_training_was_started(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    corpus = Corpus([], ["a", "b", "c"], examples(60), [], {})
    run = EnsembleRun(recipe("fdan"), torch.arange(60), None, 0)
    waiting = [train_group(corpus, FarPool(ExecutionConfig()), [run]) for _ in range(2)]
    assert [len(wait()) for wait in waiting] == [2, 2]
    assert caplog.messages == ["why it is slow"]


class Unbalanced(Ordinary):
    """A parameter without influence, next to a loss that is large: its gradient is rounding and nothing else."""

    vectorise = True

    def __init__(self, config: HeadConfig, shapes: Shapes) -> None:
        """Add a bias that a softmax over the classes removes."""
        super().__init__(config, shapes)
        self.shift = nn.Parameter(torch.tensor(0.3))

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        """Scale and shift all logits."""
        output = super().forward(visual, acoustic)
        assert output.visual is not None and output.acoustic is not None
        return output._replace(visual=1e4 * output.visual + self.shift, acoustic=1e4 * output.acoustic + self.shift)


def test_rounding_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "unbalanced", Unbalanced)
    (result,) = train_together(examples(60), replicas([recipe("unbalanced")], 60), classes=3)
    assert not result.note
