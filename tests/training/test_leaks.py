"""Leaks: copies of one recording in different parts of a split, and speakers under two names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_clip

from data_manifest.splits.split import Split
from pipeline.heads.examples import Examples
from pipeline.store.tokens import Tokens
from pipeline.training import leaks
from pipeline.training.corpus import Corpus
from pipeline.training.leaks import leak_notes, near_copies

CLIPS, WIDTH = 30, 16
COPIES = {7: 2, 20: 5}  # clip: the clip of which it is a copy
DURATIONS = {7: 1.02, 20: 1.06}  # clip 20 is 60 ms longer than clip 5


def make_corpus(*, noise: float = 0.02, without: dict[str, set[int]] | None = None) -> Corpus:
    """Return clips of one second with random tokens around a large mean, some of them copies of others."""
    rng = np.random.default_rng(0)
    modalities = {}
    for name in ("visual", "acoustic"):
        values = rng.normal(35, 1, (CLIPS, 3, WIDTH))
        for copy, original in COPIES.items():
            values[copy] = values[original] + rng.normal(0, noise, (3, WIDTH))
        mask = np.ones((CLIPS, 3), bool)
        mask[list((without or {}).get(name, ()))] = False
        modalities[name] = Tokens(torch.tensor(values, dtype=torch.float32), torch.zeros(CLIPS, 3), torch.tensor(mask))
    clips = [
        make_clip(
            f"c{n:02}", emotion="fear" if n % 2 else "anger", speaker=f"test/s{n % 3}", duration_s=DURATIONS.get(n, 1)
        )
        for n in range(CLIPS)
    ]
    examples = Examples(modalities["visual"], modalities["acoustic"], torch.zeros(CLIPS, dtype=torch.int64))
    return Corpus(clips, ["anger", "fear"], examples, [], {})


@pytest.mark.parametrize("rows", [1, 7, 1024])
@pytest.mark.parametrize("without", [{}, {"visual": {7}}, {"visual": set(range(CLIPS))}, {"acoustic": {2, 9}}])
def test_copies_of_one_length_are_found_in_whatever_modalities_they_have(
    without: dict[str, set[int]], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "ROWS", rows)
    assert list(near_copies(make_corpus(without=without))) == [("c02", "c07")]


def test_clips_that_are_alike_in_one_modality_only_or_not_enough_are_no_copies() -> None:
    assert list(near_copies(make_corpus(noise=0.6))) == []
    corpus = make_corpus()
    other = make_corpus(noise=30)
    assert list(near_copies(replace(corpus, examples=replace(corpus.examples, acoustic=other.examples.acoustic)))) == []
    lost = {"visual": set(range(CLIPS)), "acoustic": set(range(CLIPS))}
    assert list(near_copies(make_corpus(without=lost))) == []


def test_copies_count_if_a_split_has_them_in_different_parts() -> None:
    corpus = make_corpus()
    parts = [[clip for n, clip in enumerate(corpus.clips) if n % 3 == part] for part in range(3)]
    first, second, third = (tuple(part) for part in parts)
    apart = Split("folds", 0, first, second, third)  # the copy is in the second part, its original in the third
    moved = next(clip for clip in second if clip.clip_id == "c07")
    rest = tuple(clip for clip in second if clip != moved)
    together = Split("others", 0, first, rest, (*third, moved), speakers_shared=True)
    assert leak_notes(corpus, [apart, together]) == [
        "folds: 1 pair of clips in different parts look like copies of one recording; "
        "leave one of each out: c02 and c07"
    ]


def test_speakers_under_two_names_are_noted(tmp_path: Path) -> None:
    corpus = make_corpus(noise=9)
    renamed = [
        replace(it, speaker="test/S01") if it.speaker == "test/s1" and it.clip_id > "c15" else it for it in corpus.clips
    ]
    (note,) = leak_notes(replace(corpus, clips=renamed), [])
    assert note == "the speakers test/S01, test/s1 may be one person; if they are, merge them: corpora.*.speakers"
