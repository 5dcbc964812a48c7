"""Splits: no clip, media or speaker in two parts, every clip tested once, and refusals that name the offenders."""

from collections import Counter
from typing import Any

import pytest
from conftest import QUICK, make_clip
from hypothesis import given
from hypothesis import strategies as st

from data_manifest.manifest import Clip
from data_manifest.splits import ProtocolConfig, Split, make_splits
from pipeline.errors import CorpusError, ParameterError
from pipeline.params import check

EMOTIONS = ("anger", "fear", "neutral")


def recorded(counts: list[list[int]]) -> list[Clip]:
    """Return the clips of a corpus in which speaker s shows emotion e counts[s][e] times."""
    return [
        make_clip(f"test/s{speaker}/{EMOTIONS[emotion]}{take}", speaker=f"test/s{speaker}", emotion=EMOTIONS[emotion])
        for speaker, row in enumerate(counts)
        for emotion, count in enumerate(row)
        for take in range(count)
    ]


@st.composite
def protocols(draw: st.DrawFn, kind: str) -> ProtocolConfig:
    values = {"folds": draw(st.integers(2, 5)), "validation": draw(st.floats(0.05, 0.95)), "seed": draw(st.integers(0))}
    return ProtocolConfig.model_validate({"kind": kind, **values})


@st.composite
def balanced(draw: st.DrawFn, kind: str) -> tuple[list[Clip], ProtocolConfig]:
    """A corpus in which all speakers show all emotions equally often, of a size that must be possible to split."""
    config = draw(protocols(kind))
    speakers = draw(st.integers(4 if config.folds == 2 else config.folds, 12))
    row = [draw(st.integers(1, 3))] * draw(st.integers(1, 3))
    return recorded([row] * speakers), config


def parts(split: Split) -> dict[str, tuple[Clip, ...]]:
    return {"train": split.train, "validation": split.validation, "test": split.test}


def assert_sound(splits: list[Split], clips: list[Clip], config: ProtocolConfig) -> None:
    """Check with counting alone what a split promises."""
    everything = sorted(clip.clip_id for clip in clips)
    assert [split.fold for split in splits] == list(range(config.folds))
    assert sorted(clip.clip_id for split in splits for clip in split.test) == everything
    for split in splits:
        assert sorted(clip.clip_id for part in parts(split).values() for clip in part) == everything
        assert all(parts(split).values())
        assert {clip.emotion for clip in split.train} == {clip.emotion for clip in clips}
        if config.kind == "speaker_folds":
            homes = Counter(speaker for part in parts(split).values() for speaker in {clip.speaker for clip in part})
            assert set(homes.values()) == {1}


@QUICK
@given(st.sampled_from(["speaker_folds", "random"]).flatmap(balanced))
def test_every_clip_is_tested_once_and_nothing_is_in_two_parts(made: tuple[list[Clip], ProtocolConfig]) -> None:
    clips, config = made
    assert_sound(make_splits(clips, "any", config), clips, config)


@QUICK
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=9).map(recorded),
    st.sampled_from(["speaker_folds", "random"]).flatmap(protocols),
)
def test_an_uneven_corpus_is_split_soundly_or_refused_in_words(clips: list[Clip], config: ProtocolConfig) -> None:
    try:
        splits = make_splits(clips, "mine", config)
    except CorpusError as error:
        assert "mine" in str(error)
    else:
        assert_sound(splits, clips, config)


@QUICK
@given(st.sampled_from(["speaker_folds", "random"]).flatmap(balanced), st.randoms())
def test_the_order_of_the_clips_does_not_matter(made: tuple[list[Clip], ProtocolConfig], random: Any) -> None:
    clips, config = made
    mixed = random.sample(clips, len(clips))
    assert make_splits(mixed, "any", config) == make_splits(clips, "any", config)


def test_another_seed_gives_other_folds() -> None:
    clips = recorded([[1, 1]] * 10)
    tests = {
        seed: [split.test for split in make_splits(clips, "any", ProtocolConfig(kind="speaker_folds", seed=seed))]
        for seed in (0, 1)
    }
    assert tests[0] != tests[1]


@pytest.mark.parametrize("kind", ["speaker_folds", "random"])
def test_parts_are_as_large_as_asked_for(kind: str) -> None:
    config = ProtocolConfig.model_validate({"kind": kind, "folds": 5, "validation": 0.25, "seed": 3})
    for split in make_splits(recorded([[2, 2]] * 20), "any", config):
        assert {name: len(part) for name, part in parts(split).items()} == {"train": 48, "validation": 16, "test": 16}


def test_random_shares_speakers_and_each_emotion_is_spread_over_the_folds() -> None:
    splits = make_splits(recorded([[2, 2]] * 5), "any", ProtocolConfig(kind="random", folds=5))
    for split in splits:
        assert split.speakers_shared
        assert {clip.speaker for clip in split.train} & {clip.speaker for clip in split.test}
        assert Counter(clip.emotion for clip in split.test) == {"anger": 2, "fear": 2}


def split_of(**changes: Any) -> Split:
    """Return a split of three clips by three speakers, with changes."""
    train, validation, test = (make_clip(name, speaker=f"test/{name}") for name in ("one", "two", "three"))
    values: dict[str, Any] = {"train": (train,), "validation": (validation,), "test": (test,)}
    return Split(**({"protocol": "mine", "fold": 2, **values, "speakers_shared": False} | changes))


def test_a_split_without_a_leak_exists() -> None:
    assert str(split_of()) == "mine, fold 2"


@pytest.mark.parametrize(
    ("part", "clip", "words"),
    [
        ("test", make_clip("one", speaker="x", sha256="x"), "the same clips in train and test: one$"),
        ("validation", make_clip("new", speaker="x", sha256="one"), "the same media in train and validation: new, one"),
        ("test", make_clip("new", speaker="test/two"), "the same speakers in validation and test: new, two"),
        ("test", make_clip("new", emotion="fear"), "training never sees fear; use fewer folds"),
    ],
)
def test_a_leak_or_an_unseen_class_is_refused_and_named(part: str, clip: Clip, words: str) -> None:
    with pytest.raises(CorpusError, match=f"^mine, fold 2: {words}"):
        split_of(**{part: (clip,)})


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_part_without_clips_is_refused_by_name(part: str) -> None:
    with pytest.raises(CorpusError, match=f"the {part} part is empty"):
        split_of(**{part: ()})


def test_where_speakers_are_shared_the_same_clip_and_media_are_still_refused() -> None:
    assert split_of(test=(make_clip("new", speaker="test/one"),), speakers_shared=True)
    with pytest.raises(CorpusError, match="the same media in train and test: new, one"):
        split_of(test=(make_clip("new", sha256="one"),), speakers_shared=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_recording_that_is_there_under_two_names_is_met_whatever_the_seed(seed: int) -> None:
    # As many folds as speakers: the two names cannot be in one test part.
    clips = [*recorded([[1, 1]] * 5), make_clip("test/copy", speaker="test/other", sha256="test/s0/anger0")]
    with pytest.raises(CorpusError, match=r"^mine, fold \d: the same media in \w+ and \w+: test/copy, test/s0/anger0$"):
        make_splits(clips, "mine", ProtocolConfig(kind="speaker_folds", folds=6, seed=seed))


@pytest.mark.parametrize("folds", [3, 5])
def test_too_few_speakers_is_an_error_that_says_how_many_are_needed(folds: int) -> None:
    config = ProtocolConfig(kind="speaker_folds", folds=folds)
    words = rf"protocols\.mine: {folds} folds need at least {folds} speakers; there are {folds - 1}$"
    with pytest.raises(CorpusError, match=words):
        make_splits(recorded([[1, 1]] * (folds - 1)), "mine", config)
    assert len(make_splits(recorded([[1, 1]] * folds), "mine", config)) == folds


def test_speakers_of_many_clips_are_dealt_so_that_folds_are_even() -> None:
    clips = recorded([[4, 4], [4, 4], [2, 2], [2, 2], [2, 2], [2, 2]])  # 32 clips: 8 a fold, whoever the speakers are
    for seed in range(5):
        splits = make_splits(clips, "mine", ProtocolConfig(kind="speaker_folds", folds=4, seed=seed))
        assert [len(split.test) for split in splits] == [8] * 4


def test_four_speakers_can_each_be_left_out_once() -> None:
    splits = make_splits(recorded([[2, 1]] * 4), "mine", ProtocolConfig(kind="speaker_folds", folds=4))
    tested = [{clip.speaker for clip in split.test} for split in splits]
    assert sorted(map(sorted, tested)) == [[f"test/s{speaker}"] for speaker in range(4)]
    assert [len({clip.speaker for clip in split.train}) for split in splits] == [2] * 4


def test_a_fold_that_leaves_no_speaker_for_validation_is_an_error_that_says_so() -> None:
    config = ProtocolConfig(kind="speaker_folds", folds=2)
    with pytest.raises(CorpusError, match=r"^protocols\.mine: fold \d leaves one speaker for both training and valid"):
        make_splits(recorded([[1, 1]] * 3), "mine", config)
    assert len(make_splits(recorded([[1, 1]] * 4), "mine", config)) == 2


@pytest.mark.parametrize(("key", "value"), [("folds", 1), ("validation", 0), ("validation", 1), ("kind", "speakers")])
def test_a_protocol_that_cannot_be_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(ParameterError, match=rf"^protocols\.mine\.{key} = {value!r}: "):
        check({"kind": "random", key: value}, ProtocolConfig, where="protocols.mine")
