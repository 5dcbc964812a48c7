"""Speaker normalisation: statistics of a speaker's own clips, without labels, the same in memory and by batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_clip
from test_checkpoints import card
from test_replicas import RECIPE, examples

from pipeline.base.errors import ParameterError
from pipeline.base.provenance import RANDOM_WEIGHTS
from pipeline.predict.predictor import _normalise_as_one_speaker
from pipeline.store.tokens import Tokens
from pipeline.training.answers import predict
from pipeline.training.corpus import Corpus
from pipeline.training.data_summary import summarise_data
from pipeline.training.ensembles import EnsembleRun, train_ensembles
from pipeline.training.recipe import TrainConfig
from pipeline.training.speakers import TRANSDUCTIVE, SpeakerTokens, normalise_speakers

MODALITIES = ("visual", "acoustic")
SPEAKERS = torch.arange(60) // 12
UNLABELLED = TrainConfig(speaker_normalisation="unlabelled", epochs=2, batch_size=8, ensemble=1)


def test_tokens_of_every_speaker_have_mean_0_and_deviation_1() -> None:
    data = replace(examples(60), speakers=SPEAKERS)
    normalised = normalise_speakers(data, UNLABELLED)
    assert isinstance(normalised.visual, SpeakerTokens)
    for speaker in range(5):
        part = normalised.take(torch.eq(SPEAKERS, speaker).nonzero()[:, 0])
        values = part.visual.values[part.visual.mask].numpy()
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-4)
    index = torch.tensor([[3, 50], [50, 7]])
    assert torch.equal(normalised.visual.batches(index).values, normalised.visual.values[index])
    assert (normalised.visual.values[~normalised.visual.mask] == 0).all()


def test_a_shift_of_one_speaker_changes_nothing() -> None:
    data = replace(examples(60), speakers=SPEAKERS)
    shifted = data.visual.values + 5.0 * (SPEAKERS == 4)[:, None, None]
    other = replace(data, visual=Tokens(shifted, data.visual.times, data.visual.mask))
    run = EnsembleRun(replace(RECIPE, train=UNLABELLED), torch.arange(40), torch.arange(40, 60), 0)
    answers = [train_ensembles(it, [run], classes=3)[0].validation["fused"] for it in (data, other)]
    torch.testing.assert_close(answers[0], answers[1], atol=1e-3, rtol=0)
    plain = replace(run, recipe=replace(RECIPE, train=UNLABELLED.model_copy(update={"speaker_normalisation": "none"})))
    answers = [train_ensembles(it, [plain], classes=3)[0].validation["fused"] for it in (data, other)]
    assert (answers[0] - answers[1]).abs().max() > 0.01


def test_a_head_predicts_from_tokens_that_are_normalised_as_in_training() -> None:
    data = replace(examples(60), speakers=SPEAKERS)
    run = EnsembleRun(replace(RECIPE, train=UNLABELLED), torch.arange(60), None, 0)
    (trained,) = train_ensembles(data, [run], classes=3)
    prepared = normalise_speakers(data, UNLABELLED)
    answers = predict(trained.head, prepared.take(torch.arange(48, 60)))
    expected = predict(trained.head, prepared)
    torch.testing.assert_close(answers["fused"], expected["fused"][48:], atol=1e-5, rtol=0)


def test_unknown_speakers_are_an_error() -> None:
    with pytest.raises(ParameterError, match="the speakers of the clips are unknown"):
        normalise_speakers(examples(60), UNLABELLED)
    assert normalise_speakers(data := examples(60), TrainConfig()) is data


def test_the_clips_of_a_call_count_as_one_speaker_and_a_single_one_is_refused() -> None:
    data = replace(examples(12), speakers=torch.zeros(12, dtype=torch.int64))
    used = card().model_copy(update={"train": UNLABELLED})
    notes: list[list[str]] = [[] for _ in range(12)]
    prepared = _normalise_as_one_speaker(data, used, notes)
    values = prepared.visual.values[prepared.visual.mask].numpy()
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
    assert all("standardised by the 12 clips of this call" in note for (note,) in notes)
    with pytest.raises(ParameterError, match="needs several clips of one speaker in a call"):
        _normalise_as_one_speaker(data.take(torch.arange(1)), used, [[]])


def test_results_of_a_transductive_recipe_say_so() -> None:
    corpus = Corpus([], [], examples(12), [], {name: card().embeddings[name].model_dump() for name in MODALITIES})
    warnings = [
        summarise_data(corpus, [replace(RECIPE, train=train)], []).warning or ""
        for train in (UNLABELLED, TrainConfig())
    ]
    assert [TRANSDUCTIVE in it for it in warnings] == [True, False]
    assert all(RANDOM_WEIGHTS in it for it in warnings)


def test_a_clip_that_lost_both_modalities_is_left_out_and_counts_as_nothing_else() -> None:
    lost = {"c1": "no face was found", "gone": "its picture is one colour throughout"}
    provenance = {name: {**card().embeddings[name].model_dump(), "failures": lost} for name in MODALITIES}
    summary = summarise_data(Corpus([make_clip("c1")], [], examples(1), [], provenance), [RECIPE], [])
    assert summary.lost_modalities == {name: {"c1": "no face was found"} for name in MODALITIES}
