"""The heads' contract is checked before training: each mistake stops it with one line that names it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from alone import train
from conftest import assert_one_line
from torch import Tensor, nn

from pipeline.ablation.table import override
from pipeline.alignments.contract import AlignmentConfig
from pipeline.base.errors import ContractError, ParameterError
from pipeline.heads.checks import check_head
from pipeline.heads.contract import Head, HeadConfig, HeadOutput, Shapes
from pipeline.heads.examples import Examples
from pipeline.heads.layers import masked_mean
from pipeline.heads.table import HEADS
from pipeline.store.tokens import Tokens
from pipeline.training.recipe import Recipe, TrainConfig, describe
from pipeline.training.replicas import architecture

CLASSES = 3


def examples(count: int = 9, *, tokens: int = 4, lacking: str = "") -> Examples:
    """Return clips of random tokens of width 6; all lack the modality `lacking`."""
    generator = torch.Generator().manual_seed(0)

    def modality(name: str) -> Tokens:
        mask = torch.full((count, tokens), name != lacking)
        return Tokens(torch.randn(count, tokens, 6, generator=generator), torch.rand(count, tokens), mask)

    return Examples(modality("visual"), modality("acoustic"), torch.arange(count) % CLASSES)


class Mean(Head):
    """A right head, whose parts the tests replace."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.ModuleDict({name: nn.Linear(6, CLASSES) for name in ("visual", "acoustic")})

    def features(self, tokens: Tokens) -> Tensor:
        return masked_mean(tokens.values, tokens.mask)

    def logits(self, name: str, features: Tensor) -> Tensor:
        logits: Tensor = self.classify[name](features)
        return logits

    def forward(self, visual: Tokens, acoustic: Tokens) -> HeadOutput:
        faces, voices = self.features(visual), self.features(acoustic)
        return HeadOutput(self.logits("visual", faces), self.logits("acoustic", voices), [faces], [voices])


def with_features(function: Callable[[Head, Tokens], Tensor]) -> type[Mean]:
    return type("Other", (Mean,), {"features": function})


def with_logits(function: Callable[[Mean, str, Tensor], Tensor]) -> type[Mean]:
    return type("Other", (Mean,), {"logits": function})


def with_output(change: Callable[[Any], Any]) -> type[Mean]:
    return type("Other", (Mean,), {"forward": lambda self, *tokens: change(Mean.forward(self, *tokens))})


def masked(head: Head, tokens: Tokens) -> Tensor:
    return masked_mean(tokens.values, tokens.mask)


def in_training(head: Head, tokens: Tokens) -> Tensor:
    features = masked(head, tokens)
    return features - features.mean(0) if head.training else features


def detached_if_visual(head: Mean, name: str, features: Tensor) -> Tensor:
    logits = Mean.logits(head, name, features)
    return logits.detach() if name == "visual" else logits


def with_a_root_of_0(head: Mean, name: str, features: Tensor) -> Tensor:
    logits = Mean.logits(head, name, features)
    return logits + (logits - logits).square().sum(1, keepdim=True).sqrt()


MISTAKES: dict[str, tuple[type[Mean], str]] = {
    "tuple": (with_output(lambda it: (it.visual, it.acoustic)), "tuple; it should give a HeadOutput"),
    "no logits": (with_output(lambda it: it._replace(visual=None, acoustic=None)), "no logits"),
    "classes": (
        with_output(lambda it: it._replace(fused=it.visual[:, :2])),
        r"`fused` \(4, 2\); it should give float logits \(B = 4, C = 3\)",
    ),
    "clips": (with_output(lambda it: it._replace(visual=it.visual[:1])), r"`visual` \(1, 3\)"),
    "integers": (with_output(lambda it: it._replace(visual=it.visual.long())), "`visual`"),
    "layers": (with_output(lambda it: it._replace(visual_layers=[])), r"aligned layers \[\] and \[\(4, 6\)\]"),
    "widths": (with_output(lambda it: it._replace(visual_layers=[it.visual])), r"aligned layers \[\(4, 3\)\]"),
    "absent": (
        with_features(lambda head, it: (it.values * it.mask[..., None]).sum(1) / it.mask.sum(1, keepdim=True)),
        "`visual` with NaN or infinity; .*a clip that lacks the modality",
    ),
    "masks": (with_features(lambda head, it: it.values.mean(1)), "logits that depend on masked tokens in evaluation"),
    "times": (
        with_features(lambda head, it: masked(head, it) * (1 + it.times.mean(1, keepdim=True))),
        "logits that depend on masked tokens",
    ),
    "batch": (
        with_features(lambda head, it: masked(head, it) - masked(head, it).mean(0)),
        r"logits that depend on the other clips of the batch in evaluation; .*attends over the batch\?$",
    ),
    "batch in training": (
        with_features(in_training),
        "on the other clips of the batch in training; .*If it is meant: uses_batch = True$",
    ),
    "noise": (
        with_features(lambda head, it: masked(head, it) + torch.randn(())),
        "logits that change from call to call in evaluation",
    ),
    "detached": (with_logits(lambda head, name, it: Mean.logits(head, name, it).detach()), "logits without a gradient"),
    "one detached": (
        with_logits(detached_if_visual),
        "no gradient to 'classify.visual.weight'; .*is it detached",
    ),
    "root of 0": (
        with_logits(with_a_root_of_0),
        "NaN as gradient of 'classify.visual.weight'; .*the square root of 0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_of_a_head_is_one_line(mistake: str) -> None:
    head, words = MISTAKES[mistake]
    torch.manual_seed(0)
    with pytest.raises(ContractError, match=rf"^head 'a:b' gave .*{words}") as error:
        check_head(head(), examples(), classes=CLASSES, name="a:b")
    assert_one_line(str(error.value))


@pytest.mark.parametrize("lacking", ["", "visual", "acoustic"])
@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_passes_untrained_and_fitted(name: str, lacking: str) -> None:
    few, state = examples(lacking=lacking), torch.get_rng_state()
    other = HeadConfig(width=16, attention_depth=0, shared_classifier=True, fusion="learned")
    check_head(HEADS[name](other, Shapes(6, 6, CLASSES)), few, classes=CLASSES, name=name)
    head = HEADS[name](HeadConfig(width=16), Shapes(6, 6, CLASSES))
    if name != "linear":  # which takes seconds
        head.fit(few)
    before = {key: value.clone() for key, value in head.state_dict().items()}
    torch.set_rng_state(state)
    check_head(head, few, classes=CLASSES, name=name)
    assert torch.equal(torch.get_rng_state(), state)  # a training draws the same numbers
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())


def test_a_head_that_uses_the_batch_says_so() -> None:
    class Honest(MISTAKES["batch in training"][0]):  # type: ignore[misc]
        uses_batch = True

    check_head(Honest(), examples(), classes=CLASSES, name="a:b")
    check_head(Mean(), examples(tokens=1), classes=CLASSES, name="a:b")


PLUGIN = """
import torch
from fdan import Config, Head, HeadOutput, Shapes, masked_mean, takes_options

class Options(Config):
    temperature: float = 1.0
    uses_masks: bool = True

@takes_options(Options)
class Warm(Head):
    def __init__(self, config, shapes):
        super().__init__()
        self.options = config.options
        self.classify = torch.nn.Linear(shapes.visual, shapes.classes)

    def forward(self, visual, acoustic):
        means = [
            masked_mean(it.values, it.mask) if self.options.uses_masks else it.values.mean(1)
            for it in (visual, acoustic)
        ]
        return HeadOutput(*(self.classify(it) / self.options.temperature for it in means), [], [])

def align(config):
    return lambda visual, acoustic, *weights: visual.mean() * config.options["factor"]
"""


@pytest.fixture(autouse=True, scope="module")
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("heads")
    (folder / "plugins").mkdir()
    (folder / "plugins/warm_head.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder / "plugins"))
        yield


def recipe(head: dict[str, Any], alignment: dict[str, Any]) -> Recipe:
    return Recipe(HeadConfig(**head), AlignmentConfig(**alignment), TrainConfig(epochs=2, batch_size=4))


def test_training_stops_at_a_contract_that_is_broken() -> None:
    wrong = recipe({"name": "warm_head:Warm", "options": {"uses_masks": False}}, {})
    with pytest.raises(ContractError, match=r"^head 'warm_head:Warm' gave logits that depend on masked tokens"):
        train(wrong, examples(), None, classes=CLASSES, seed=0)
    wrong = recipe({"width": 8}, {"name": "warm_head:align", "options": {"factor": 2}})
    with pytest.raises(ContractError, match=r"^alignment 'warm_head:align' gave .* rows without class weights"):
        train(wrong, examples(), None, classes=CLASSES, seed=0)


def test_options_of_a_head_shape_its_training_and_separate_architectures() -> None:
    recipes = [recipe({"name": "warm_head:Warm", "options": {"temperature": it}}, {}) for it in (1, 5)]
    weights = [
        train(it, examples(), None, classes=CLASSES, seed=0).head.state_dict()["classify.weight"] for it in recipes
    ]
    assert not torch.equal(*weights)
    assert len({architecture(it) for it in recipes}) == 2
    assert [describe(it)["head"]["options"] for it in recipes] == [{"temperature": 1.0}, {"temperature": 5.0}]


def test_options_of_a_row_are_checked_and_converted() -> None:
    plain = recipe({"name": "warm_head:Warm"}, {})
    changed = override(plain, {"head": {"options": {"temperature": "2"}}}, row="warm")  # text of the command line
    assert changed.head.options == {"temperature": 2.0}
    with pytest.raises(ParameterError, match=r"ablations.warm.head.options = .*did you mean 'temperature'"):
        override(plain, {"head": {"options": {"temprature": 2}}}, row="warm")
    with pytest.raises(ParameterError, match=r"ablations.warm.head.options = .*: head 'fdan' takes no options"):
        override(recipe({}, {}), {"head": {"options": {"temperature": 2}}}, row="warm")
