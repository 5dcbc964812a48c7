"""Temperatures: they are fitted on validation clips only, make overconfident answers less so, and change no answer."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_clip

from data_manifest.splits.split import Split
from pipeline.alignments.contract import AlignmentConfig
from pipeline.heads.contract import HeadConfig
from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens
from pipeline.training.checkpoints import save_head
from pipeline.training.corpus import Corpus
from pipeline.training.ensembles import train_ensembles
from pipeline.training.held_out import predict_runs
from pipeline.training.recipe import Recipe, TrainConfig
from pipeline.training.runs import FoldRun, as_ensemble_runs, describe_head
from pipeline.training.temperature import apply_temperatures, fit_temperatures


def answers(count: int, confidence_gain: float) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return labels that are drawn from calibrated probabilities, and these with logits times `confidence_gain`."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 4, generator=generator)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    return {"fused": (confidence_gain * logits).softmax(-1)}, labels


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_temperature_undoes_what_made_probabilities_too_sure(gain: float) -> None:
    part = answers(20_000, gain)
    temperatures = fit_temperatures([part])
    assert temperatures["fused"] == pytest.approx(gain, rel=0.03)
    after = apply_temperatures(part[0], temperatures)["fused"]
    assert torch.equal(after.argmax(1), part[0]["fused"].argmax(1))
    assert torch.allclose(after.sum(1), torch.ones(len(after)))
    expected = part[0]["fused"].double() ** (1 / temperatures["fused"])
    assert torch.allclose(after, (expected / expected.sum(1, keepdim=True)).float(), atol=1e-6)


def test_answers_that_are_all_right_do_not_make_a_head_certain() -> None:
    probabilities = torch.tensor([[0.6, 0.3, 0.1]]).repeat(12, 1)
    fitted = fit_temperatures([({"fused": probabilities}, torch.zeros(12, dtype=torch.int64))])
    (surest,) = apply_temperatures({"fused": probabilities[:1]}, fitted)["fused"][:, 0].tolist()
    assert 0.6 < surest < 0.999


def test_temperature_has_the_lowest_penalised_nll_of_all_on_a_fine_grid() -> None:
    probabilities, labels = answers(60, 2.0)
    values = probabilities["fused"].double().numpy()

    def penalised(temperature: float) -> float:
        powers = values ** (1 / temperature)
        nll = float(-np.log((powers / powers.sum(1, keepdims=True))[range(60), labels.numpy()]).mean())
        return nll + math.log(temperature) ** 2 / 60  # one clip that speaks for a temperature of 1

    best = min(np.geomspace(0.05, 20, 4000), key=penalised)
    assert fit_temperatures([(probabilities, labels)])["fused"] == pytest.approx(best, rel=0.003)


def test_clips_without_an_answer_count_for_nothing() -> None:
    probabilities, labels = answers(100, 2.0)
    missing = torch.full((50, 4), math.nan)
    with_gaps = {"fused": torch.cat([probabilities["fused"], missing]), "visual": missing.repeat(3, 1)}
    fitted = fit_temperatures([(with_gaps, torch.cat([labels, labels[:50]]))])
    assert fitted == fit_temperatures([(probabilities, labels)])  # and none for `visual`
    applied = apply_temperatures(with_gaps, fitted)
    assert applied["fused"][100:].isnan().all()
    assert applied["visual"] is with_gaps["visual"]


def test_parts_are_fitted_together() -> None:
    probabilities, labels = answers(100, 2.0)
    halves = [({"fused": probabilities["fused"][part]}, labels[part]) for part in (slice(40), slice(40, 100))]
    assert fit_temperatures(halves) == fit_temperatures([(probabilities, labels)])


def tokens(count: int) -> Tokens:
    values = torch.randn(count, 2, 6, generator=torch.Generator().manual_seed(count))
    return Tokens(values, torch.zeros(count, 2), torch.ones(count, 2, dtype=torch.bool))


def corpus() -> tuple[Corpus, FoldRun]:
    clips = [make_clip(f"c{n:02}", emotion=("anger", "fear")[n % 2], speaker=f"s{n // 10}") for n in range(30)]
    origin = {"weights": {"name": "test", "sha256": ""}, "failures": {}, "fingerprint": "f", "version": "v"}
    origin |= {"config": {}, "upstream": {"config": {}, "fingerprint": "", "version": ""}}
    provenance = {name: dict(origin) for name in ("visual", "acoustic")}
    labels = torch.arange(30) % 2
    split = Split("folds", 0, tuple(clips[:10]), tuple(clips[10:20]), tuple(clips[20:]))
    return Corpus(clips, ["anger", "fear"], Examples(tokens(30), tokens(30), labels), [], provenance), FoldRun(split, 0)


def test_test_clips_play_no_part_in_the_temperature_that_is_applied_to_them(tmp_path: Path) -> None:
    data, run = corpus()
    recipe = Recipe(HeadConfig(width=8, attention_heads=2), AlignmentConfig(), TrainConfig(epochs=2, ensemble=2))
    (trained,) = train_ensembles(data.examples, as_ensemble_runs(data, [(recipe, run)]), classes=2)
    labels = data.examples.labels.clone()
    temperatures = fit_temperatures([(trained.validation, labels[10:20])])
    labels[20:] = 1 - labels[20:]
    other = replace(data, examples=replace(data.examples, labels=labels))
    (changed,) = train_ensembles(other.examples, as_ensemble_runs(other, [(recipe, run)]), classes=2)
    assert fit_temperatures([(changed.validation, labels[10:20])]) == temperatures
    card = describe_head(data, recipe, temperatures, run=run)
    save_head(trained.head, card, tmp_path / "folds" / f"{run.name}.safetensors")
    for prediction in predict_runs(data, [run], tmp_path):
        assert prediction.uncalibrated is not None
        powers = np.array(prediction.uncalibrated["fused"]) ** (1 / temperatures["fused"])
        assert prediction.probabilities["fused"] == pytest.approx(powers / powers.sum(), abs=1e-5)
        assert prediction.clip_id in {clip.clip_id for clip in run.split.test}
