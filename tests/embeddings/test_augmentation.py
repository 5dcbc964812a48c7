"""Views: reproducible augmented copies of a clip, used in training only."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_clip

from pipeline.embeddings._augmentation import augment, vary_faces, vary_spectrograms
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.tokens import SOURCES, embed_clip, token_width
from pipeline.store.clips import ClipTokens, ClipWindows
from pipeline.store.columns import Ragged, to_columns
from pipeline.store.features import FeatureStore
from pipeline.store.schemas import EMBEDDINGS
from pipeline.store.writer import open_writer
from pipeline.training.corpus import load_examples

CONFIG = BackboneConfig(weights="random", size_px=64, views=3)


def test_faces_of_a_clip_are_augmented_in_the_same_way() -> None:
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = torch.cat([picture, picture])
    different = 0
    for seed in range(8):
        varied = augment(batch, vary_faces, seed=seed)
        assert torch.equal(varied[0], varied[1])
        assert varied.min() >= 0
        assert varied.max() <= 1
        different += not torch.equal(varied, batch)
    assert different == 8


def test_masks_cover_one_range_of_bands_and_one_of_frames() -> None:
    batch = torch.rand(5, 1, 40, 60, generator=torch.Generator().manual_seed(0)) + 0.1
    varied = augment(batch, vary_spectrograms, seed=4)
    silent = varied == 0
    assert torch.equal(varied[~silent], batch[~silent])
    for picture in silent[:, 0]:
        bands, frames = picture.all(1), picture.all(0)
        assert torch.equal(picture, bands[:, None] | frames[None])
        assert bands.sum() <= 6
        assert frames.sum() <= 9
        for line in (bands, frames):
            masked = line.nonzero().ravel().tolist()
            assert masked == list(range(masked[0], masked[0] + len(masked))) if masked else True
    assert silent.any()
    assert not torch.equal(silent[0], silent[1])


def two_windows(level: float) -> ClipWindows:
    ramp = np.linspace(0, level, 64 * 64, dtype=np.float32).reshape(64, 64)
    times = np.asarray([0.5, 1.0], np.float32)
    return ClipWindows(times, np.ones(2, np.float32), Ragged.join([ramp, ramp[::-1]]))


@pytest.mark.slow
def test_views_are_reproducible_and_leave_the_tokens_unchanged() -> None:
    torch.manual_seed(1)
    first = embed_clip(two_windows(0.9), source=SOURCES["mels"], config=CONFIG)
    torch.manual_seed(2)
    again = embed_clip(two_windows(0.9), source=SOURCES["mels"], config=CONFIG)
    assert to_columns(first).keys() == {"tokens", "view_1", "view_2", "times"}
    assert {view.shape[1] for view in first.views} == {token_width(SOURCES["mels"], CONFIG)}
    for name, values in to_columns(first).items():
        np.testing.assert_array_equal(values, to_columns(again)[name])
    assert np.abs(first.views[0] - first.tokens).max() > 1e-3
    assert np.abs(first.views[0] - first.views[1]).max() > 1e-3
    plain = embed_clip(two_windows(0.9), source=SOURCES["mels"], config=CONFIG.model_copy(update={"views": 1}))
    np.testing.assert_array_equal(plain.tokens, first.tokens)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Clip c of 20 has the token c, and the views c + 100 and c + 200."""
    like = to_columns(ClipTokens.empty(1, views=2))
    with open_writer(tmp_path / "a.h5", like=like, attributes={"schema": EMBEDDINGS.name}) as writer:
        for clip in range(20):
            tokens, *views = (np.full((1, 1), clip + 100 * number, np.float32) for number in range(3))
            writer.append(f"clip{clip:02}", to_columns(ClipTokens(np.zeros(1, np.float32), tokens, tuple(views))))
    return FeatureStore(tmp_path / "a.h5")


def test_training_uses_all_views_equally_often_and_testing_none(store: FeatureStore) -> None:
    clips = [make_clip(clip_id) for clip_id in store]
    examples = load_examples(clips, ["anger"], store, store).take(torch.arange(19, -1, -1))
    assert examples.visual.values.ravel().tolist() == list(range(19, -1, -1))
    index = torch.arange(20).expand(300, -1)
    generators = [torch.Generator().manual_seed(seed) for seed in range(300)]
    draws = examples.visual.batches(index, generators).values[..., 0, 0]
    assert torch.equal(draws % 100, examples.visual.values.ravel().expand(300, -1))
    shares = [(draws // 100 == number).double().mean().item() for number in range(3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)
    again = examples.visual.batches(index[:1], [torch.Generator().manual_seed(0)]).values[..., 0, 0]
    assert torch.equal(again[0], draws[0])  # whatever the other replicas are
    both = examples.acoustic.batches(index, generators).values[..., 0, 0]
    assert not torch.equal(both, draws)  # the modalities are independent
    assert store["clip07"].tokens.tolist() == [[7.0]]
