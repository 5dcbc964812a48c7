"""Protocols: no clip, recording, speaker or sentence is in two parts, and errors name the clips concerned."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from conftest import QUICK, make_clip
from hypothesis import given
from hypothesis import strategies as st

from data_manifest.manifest.clips import Clip
from data_manifest.splits.protocols import ProtocolConfig, make_splits
from data_manifest.splits.split import Split
from pipeline.base.errors import CorpusError, ParameterError
from pipeline.base.params import check

EMOTIONS = ("anger", "fear", "neutral")
KINDS = ("speaker_folds", "random", "sentence_folds", "official", "cross_corpus")


def protocol(kind: str, **values: Any) -> ProtocolConfig:
    return check({"mine": {"kind": kind, **values}}, dict[str, ProtocolConfig], where="protocols")["mine"]


def make_corpus(counts: list[list[int]]) -> list[Clip]:
    """Return a corpus in which speaker s shows emotion e counts[s][e] times."""
    return [
        make_clip(f"test/s{speaker}/{EMOTIONS[emotion]}{take}", speaker=f"test/s{speaker}", emotion=EMOTIONS[emotion])
        for speaker, row in enumerate(counts)
        for emotion, count in enumerate(row)
        for take in range(count)
    ]


@st.composite
def protocols(draw: st.DrawFn, kind: str) -> ProtocolConfig:
    values: dict[str, Any] = {"validation": draw(st.floats(0.05, 0.5)), "seed": draw(st.integers(0, 2**32 - 1))}
    if kind == "cross_corpus":
        values |= {"train": ["c0"], "test": draw(st.sampled_from([["c1"], ["c1", "c2"]]))}
    elif kind != "official":
        values["folds"] = draw(st.integers(2, 5))
    return protocol(kind, **values)


@st.composite
def any_corpus(draw: st.DrawFn) -> list[Clip]:
    """Clips of several corpora with speakers, emotions, sentences and official parts, including some duplicates.

    Duplicates have the same bytes, or RAVDESS file names of the same performance.
    """
    corpora = draw(st.integers(1, 3))
    clip = st.tuples(
        st.integers(0, corpora - 1), st.integers(0, 7), st.sampled_from(EMOTIONS), st.integers(0, 4), st.integers(0, 2)
    )
    parts = draw(st.sampled_from([("train", "dev", "test"), ("train", "test", "test"), ("train", "dev", "")]))
    clips: list[Clip] = []
    for number, (corpus, speaker, emotion, sentence, part) in enumerate(draw(st.lists(clip, min_size=1, max_size=60))):
        is_copy = draw(st.integers(0, 30)) == 0 and number > 0
        trial = f"0{part + 1}-01-0{EMOTIONS.index(emotion) + 1}-01-0{sentence % 2 + 1}-01-{speaker + 1:02}.mp4"
        clips.append(
            make_clip(
                f"c{corpus}/s{speaker}/{number}",
                corpus=f"c{corpus}",
                path=trial if draw(st.integers(0, 15)) == 0 else f"{number}.mp4",
                speaker=f"c{corpus}/s{speaker}",
                emotion=emotion,
                sentence=f"text {sentence}",
                split=parts[part],
                sha256=clips[-1].sha256 if is_copy else f"{number}",
            )
        )
    return clips


@st.composite
def balanced_corpus(draw: st.DrawFn, kind: str) -> tuple[list[Clip], ProtocolConfig]:
    """A corpus in which all speakers show all emotions equally often, large enough for the protocol."""
    config = draw(protocols(kind))
    assert config.kind in ("speaker_folds", "random")
    speakers = draw(st.integers(4 if config.folds == 2 else config.folds, 12))
    row = [draw(st.integers(1, 3))] * draw(st.integers(1, 3))
    return make_corpus([row] * speakers), config


def parts(split: Split) -> dict[str, tuple[Clip, ...]]:
    return {"train": split.train, "validation": split.validation, "test": split.test}


def parts_by_key(split: Split, key: Callable[[Clip], str]) -> dict[str, set[str]]:
    """Return the names of the parts in which each key occurs."""
    names: dict[str, set[str]] = {}
    for name, part in parts(split).items():
        for clip in part:
            names.setdefault(key(clip), set()).add(name)
    return names


def assert_no_leak(split: Split, config: ProtocolConfig) -> None:
    """Check the guarantees of a split by counting."""
    assert all(parts(split).values())
    for key in (lambda it: it.clip_id, lambda it: it.sha256, lambda it: it.path.partition("-")[2] or it.path):
        assert all(len(names) == 1 for names in parts_by_key(split, key).values())
    speakers = parts_by_key(split, lambda it: it.speaker).values()
    if config.kind in ("speaker_folds", "cross_corpus") or not split.speakers_shared:
        assert all(len(names) == 1 for names in speakers)
    if config.kind == "sentence_folds":
        sentences = parts_by_key(split, lambda it: it.sentence).values()
        assert all(names == {"test"} for names in sentences if "test" in names)
    if config.kind == "official":
        assert split.speakers_shared == any(len(names) > 1 for names in speakers)
        assert {it.split for it in split.test} == {"test"}
        assert not {it.split for it in split.train} & {"test", "dev"}
    if config.kind == "cross_corpus":
        assert not {it.corpus for it in split.test} & {it.corpus for it in split.train + split.validation}
    trained = {it.emotion for it in split.train}
    assert {it.emotion for it in split.test + split.validation} <= trained


@QUICK
@given(any_corpus(), st.sampled_from(KINDS).flatmap(protocols))
def test_no_protocol_leaks_on_any_corpus(clips: list[Clip], config: ProtocolConfig) -> None:
    try:
        splits = make_splits(clips, "mine", config)
    except CorpusError as error:
        assert str(error).startswith("protocols.mine: ")
        return
    for split in splits:
        assert_no_leak(split, config)
    if config.kind in ("speaker_folds", "random", "sentence_folds"):
        all_ids = sorted(clip.clip_id for clip in clips)
        assert sorted(clip.clip_id for split in splits for clip in split.test) == all_ids
        assert all(sorted(it.clip_id for part in parts(split).values() for it in part) == all_ids for split in splits)


@QUICK
@given(any_corpus(), st.lists(st.integers(0, 2), min_size=24, max_size=24))
def test_given_groups_are_the_test_parts(clips: list[Clip], numbers: list[int]) -> None:
    group_of = dict(zip(sorted({clip.speaker for clip in clips}), numbers, strict=False))
    groups = [[it for it, number in group_of.items() if number == group] for group in sorted({*group_of.values()})]
    config = protocol("speaker_folds", groups=groups)
    try:
        splits = make_splits(clips, "mine", config)
    except CorpusError as error:
        assert str(error).startswith("protocols.mine: ")
        return
    for split, group in zip(splits, groups, strict=True):
        assert_no_leak(split, config)
        assert sorted({clip.speaker for clip in split.test}) == group


@QUICK
@given(st.sampled_from(["speaker_folds", "random"]).flatmap(balanced_corpus))
def test_balanced_corpus_can_always_be_split(corpus: tuple[list[Clip], ProtocolConfig]) -> None:
    clips, config = corpus
    for split in make_splits(clips, "any", config):
        assert_no_leak(split, config)
        assert {clip.emotion for clip in split.train} == {clip.emotion for clip in clips}


@QUICK
@given(st.sampled_from(["speaker_folds", "random"]).flatmap(balanced_corpus), st.randoms())
def test_order_of_clips_does_not_matter(corpus: tuple[list[Clip], ProtocolConfig], random: Any) -> None:
    clips, config = corpus
    shuffled = random.sample(clips, len(clips))
    assert make_splits(shuffled, "any", config) == make_splits(clips, "any", config)


def test_another_seed_gives_other_folds() -> None:
    clips = make_corpus([[1, 1]] * 10)
    tests = {
        seed: [split.test for split in make_splits(clips, "any", protocol("speaker_folds", seed=seed))]
        for seed in (0, 1)
    }
    assert tests[0] != tests[1]


@pytest.mark.parametrize("kind", ["speaker_folds", "random"])
def test_parts_have_the_requested_size(kind: str) -> None:
    config = protocol(kind, folds=5, validation=0.25, seed=3)
    for split in make_splits(make_corpus([[2, 2]] * 20), "any", config):
        assert {name: len(part) for name, part in parts(split).items()} == {"train": 48, "validation": 16, "test": 16}


def test_random_folds_share_speakers_and_are_stratified_by_emotion() -> None:
    splits = make_splits(make_corpus([[2, 2]] * 5), "any", protocol("random", folds=5))
    for split in splits:
        assert split.speakers_shared
        assert {clip.speaker for clip in split.train} & {clip.speaker for clip in split.test}
        assert Counter(clip.emotion for clip in split.test) == {"anger": 2, "fear": 2}


def make_split(**changes: Any) -> Split:
    """Return a split of three clips by three speakers, with changes."""
    train, validation, test = (make_clip(name, speaker=f"test/{name}") for name in ("one", "two", "three"))
    values: dict[str, Any] = {"train": (train,), "validation": (validation,), "test": (test,)}
    return Split(**({"protocol": "mine", "fold": 2, **values, "speakers_shared": False} | changes))


def test_split_without_a_leak_is_accepted() -> None:
    assert len(make_split().train) == 1


@pytest.mark.parametrize(
    ("part", "clip", "message"),
    [
        ("test", make_clip("one", speaker="x", sha256="x"), "the same clips in train and test: one$"),
        (
            "validation",
            make_clip("new", speaker="x", sha256=make_clip("one").sha256),
            "the same media in train and validation: new, one",
        ),
        ("test", make_clip("new", speaker="test/two"), "the same speakers in validation and test: new, two"),
        (
            "test",
            make_clip("new", emotion="fear"),
            "no training clip is labelled fear: only test/s1 shows it; merge it into another emotion",
        ),
    ],
)
def test_leak_or_unseen_class_is_refused(part: str, clip: Clip, message: str) -> None:
    with pytest.raises(CorpusError, match=f"^fold 2: {message}"):
        make_split(**{part: (clip,)})


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_empty_part_is_refused(part: str) -> None:
    with pytest.raises(CorpusError, match=f"the {part} part is empty"):
        make_split(**{part: ()})


def test_shared_media_are_refused_even_if_speakers_are_shared() -> None:
    assert make_split(test=(make_clip("new", speaker="test/one"),), speakers_shared=True)
    with pytest.raises(CorpusError, match="the same media in train and test: new, one"):
        make_split(test=(make_clip("new", sha256=make_clip("one").sha256),), speakers_shared=True)


@pytest.mark.parametrize("seed", range(5))
def test_recording_with_two_ids_is_refused_for_any_seed(seed: int) -> None:
    # There are as many folds as speakers, so the two ids cannot be in one test part.
    clips = [
        *make_corpus([[1, 1]] * 5),
        make_clip("test/copy", speaker="test/other", sha256=make_clip("test/s0/anger0").sha256),
    ]
    with pytest.raises(CorpusError, match=r"mine: fold \d: the same media in \w+ and \w+: test/copy, test/s0/anger0$"):
        make_splits(clips, "mine", protocol("speaker_folds", folds=6, seed=seed))


@pytest.mark.parametrize("folds", [4, 5])
def test_too_few_speakers_is_an_error_with_the_required_number(folds: int) -> None:
    config = protocol("speaker_folds", folds=folds)
    message = rf"protocols\.mine: {folds} folds need at least {folds} speakers; the clips have {folds - 1}$"
    with pytest.raises(CorpusError, match=message):
        make_splits(make_corpus([[1, 1]] * (folds - 1)), "mine", config)
    assert len(make_splits(make_corpus([[1, 1]] * folds), "mine", config)) == folds


@pytest.mark.parametrize("speakers", [1, 2])
def test_fewer_than_three_speakers_cannot_be_split_by_speaker(speakers: int) -> None:
    with pytest.raises(
        CorpusError, match=rf"training, validation and test need a speaker each; the clips have {speakers}$"
    ):
        make_splits(make_corpus([[1, 1]] * speakers), "mine", protocol("speaker_folds", folds=2))


def test_folds_are_balanced_if_speakers_have_different_numbers_of_clips() -> None:
    clips = make_corpus([[4, 4], [4, 4], [2, 2], [2, 2], [2, 2], [2, 2]])  # 32 clips, 8 per fold
    for seed in range(5):
        splits = make_splits(clips, "mine", protocol("speaker_folds", folds=4, seed=seed))
        assert [len(split.test) for split in splits] == [8] * 4


def test_each_of_four_speakers_is_tested_once() -> None:
    splits = make_splits(make_corpus([[2, 1]] * 4), "mine", protocol("speaker_folds", folds=4))
    tested = [{clip.speaker for clip in split.test} for split in splits]
    assert sorted(map(sorted, tested)) == [[f"test/s{speaker}"] for speaker in range(4)]
    assert [len({clip.speaker for clip in split.train}) for split in splits] == [2] * 4


def test_fold_without_a_speaker_for_validation_is_an_error() -> None:
    config = protocol("speaker_folds", folds=2)
    with pytest.raises(CorpusError, match=r"^protocols\.mine: fold \d leaves only one speaker for training and valid"):
        make_splits(make_corpus([[1, 1]] * 3), "mine", config)
    assert len(make_splits(make_corpus([[1, 1]] * 4), "mine", config)) == 2


@pytest.mark.parametrize(("key", "value"), [("folds", 1), ("validation", 0), ("validation", 0.6)])
def test_value_out_of_bounds_is_refused_with_its_key(key: str, value: object) -> None:
    with pytest.raises(ParameterError, match=rf"^protocols\.mine\.{key} = {value!r}: "):
        protocol("random", **{key: value})


def test_unknown_kind_or_key_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ParameterError, match="speaker_folds', 'random', 'sentence_folds', 'official', 'cross_corpus'"):
        protocol("speakers")
    with pytest.raises(
        ParameterError, match=r"^protocols\.mine\.fold: unknown key; did you mean 'folds'\? valid: corpora, folds, "
    ):
        protocol("random", fold=5)
    with pytest.raises(ParameterError, match=r"^protocols\.mine\.train is missing"):
        protocol("cross_corpus", test=["a"])


def ravdess(actors: range) -> list[Clip]:
    return [
        make_clip(
            f"ravdess/{actor:02}/01-0{emotion + 3}-01-0{text}-01-{actor:02}",
            path=f"01-01-0{emotion + 3}-01-0{text}-01-{actor:02}.mp4",
            speaker=f"ravdess/{actor:02}",
            emotion=EMOTIONS[emotion],
            sentence=f"statement 0{text}",
        )
        for actor in actors
        for emotion in range(3)
        for text in (1, 2)
    ]


@pytest.mark.parametrize(("groups", "third"), [("ravdess_6", {8, 9, 19, 23}), ("ravdess_5", {10, 11, 12, 19, 20})])
def test_published_ravdess_folds_have_the_published_actors(groups: str, third: set[int]) -> None:
    splits = make_splits(ravdess(range(1, 25)), "mine", protocol("speaker_folds", groups=groups))
    assert len(splits) == int(groups[-1])
    assert {int(clip.speaker[-2:]) for clip in splits[2].test} == third
    incomplete = make_splits(ravdess(range(2, 18)), "mine", protocol("speaker_folds", groups=groups))
    assert sorted(it.clip_id for split in incomplete for it in split.test) == sorted(
        it.clip_id for it in ravdess(range(2, 18))
    )


def test_groups_accept_speakers_with_or_without_corpus_and_zeros() -> None:
    splits = make_splits(
        ravdess(range(1, 7)), "mine", protocol("speaker_folds", groups=[["01", 2], ["ravdess/03", 4], ["5", "6"]])
    )
    assert [sorted({clip.speaker[-1] for clip in split.test}) for split in splits] == [
        ["1", "2"],
        ["3", "4"],
        ["5", "6"],
    ]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[1, 2], [3]], "groups: ravdess/04 is in no group"),
        ([[1, 2], [3, 4, 9]], "groups: no speaker 9; valid: ravdess/01, "),
        ([[1, 2], [2, 3, 4]], "groups: 2 is listed twice"),
        ([[1, 2, 3, 4]], "groups: fewer than two groups"),
    ],
)
def test_groups_that_do_not_fit_the_speakers_are_refused(groups: list[list[int]], message: str) -> None:
    with pytest.raises(CorpusError, match=f"^protocols.mine: {message}"):
        make_splits(ravdess(range(1, 5)), "mine", protocol("speaker_folds", groups=groups))


@pytest.mark.parametrize("groups", ["ravdess", {}, [[]], [1, 2], "x"])
def test_groups_of_the_wrong_form_are_refused_with_the_valid_ones(groups: object) -> None:
    with pytest.raises(ParameterError, match=r"each_speaker, ravdess_6, ravdess_5, or a list of lists of speakers"):
        make_splits(ravdess(range(1, 5)), "mine", protocol("speaker_folds", groups=groups))


def test_folds_and_groups_cannot_both_be_given() -> None:
    with pytest.raises(ParameterError, match="folds and groups are both given"):
        protocol("speaker_folds", groups="each_speaker", folds=4)


def test_each_speaker_is_tested_once() -> None:
    splits = make_splits(make_corpus([[2, 1]] * 4), "mine", protocol("speaker_folds", groups="each_speaker"))
    assert sorted({clip.speaker for clip in split.test}.pop() for split in splits) == [f"test/s{n}" for n in range(4)]


def test_one_ravdess_performance_is_never_in_two_parts_even_from_two_corpora() -> None:
    clips = ravdess(range(1, 9))
    sound = [
        replace(
            clip,
            clip_id=clip.clip_id.replace("ravdess", "sound"),
            path="x/03" + clip.path[2:-3] + "wav",
            speaker="sound" + clip.speaker[7:],
            sha256=clip.sha256 + "s",
        )
        for clip in clips
    ]
    with pytest.raises(CorpusError, match=r"the same performances in .*: ravdess/01/01-03-01-01-01-01, sound/01"):
        make_splits([*clips, *sound], "mine", protocol("random"))
    assert make_splits(clips, "mine", protocol("random"))


def test_ravdess_sentences_are_separated_and_validation_uses_other_speakers() -> None:
    for split in make_splits(ravdess(range(1, 6)), "mine", protocol("sentence_folds", folds=2)):
        assert {clip.sentence for clip in split.train} & {clip.sentence for clip in split.test} == set()
        assert {clip.speaker for clip in split.train} & {clip.speaker for clip in split.validation} == set()
        assert split.speakers_shared


def test_clips_without_a_sentence_or_part_are_reported() -> None:
    with pytest.raises(CorpusError, match=r"mine: 8 clips have no sentence: test/s0/anger0, .* and 2 more$"):
        make_splits(make_corpus([[2]] * 4), "mine", protocol("sentence_folds"))
    with pytest.raises(
        CorpusError, match=r"mine: 8 clips are in no official part \(train, dev, .*\): test/s0/anger0, "
    ):
        make_splits(make_corpus([[2]] * 4), "mine", protocol("official"))


@pytest.mark.parametrize("shared", [True, False])
def test_official_parts_are_kept_and_record_whether_speakers_are_shared(shared: bool) -> None:
    clips = [
        make_clip(f"{part}{emotion}", split=part, emotion=emotion, speaker="cast" if shared else part)
        for part in ("train", "dev", "test")
        for emotion in EMOTIONS
    ]
    (split,) = make_splits(clips, "mine", protocol("official"))
    assert {name: {it.split for it in part} for name, part in parts(split).items()} == {
        "train": {"train"},
        "validation": {"dev"},
        "test": {"test"},
    }
    assert split.speakers_shared is shared


def test_cross_corpus_uses_the_emotions_that_both_sides_have() -> None:
    clips = [
        make_clip(f"{corpus}/{speaker}/{emotion}", corpus=corpus, speaker=f"{corpus}/{speaker}", emotion=emotion)
        for corpus, emotions in (("a", "xyz"), ("b", "yz"), ("c", "zxq"))
        for speaker in "123"
        for emotion in emotions
    ]
    first, second = make_splits(clips, "mine", protocol("cross_corpus", train=["a"], test=["b", "c"]))
    assert [{it.corpus for it in split.test} for split in (first, second)] == [{"b"}, {"c"}]
    assert [{it.emotion for it in split.train} for split in (first, second)] == [{"y", "z"}, {"x", "z"}]
    with pytest.raises(CorpusError, match="no clip of the corpus d; valid: a, b, c"):
        make_splits(clips, "mine", protocol("cross_corpus", train=["a"], test=["d"]))
    with pytest.raises(ParameterError, match="a cannot be in both train and test"):
        protocol("cross_corpus", train=["a"], test=["a"])


def test_random_split_is_a_partition() -> None:
    # Public code samples train and test independently, so that most test clips are also trained on.
    for split in make_splits(make_corpus([[3, 3]] * 5), "mine", protocol("random")):
        assert len({it.clip_id for it in split.train + split.validation + split.test}) == 30


def test_speakers_1_and_10_are_distinct_and_order_does_not_matter() -> None:
    clips = [make_clip(f"{n}/{e}", speaker=f"test/{n}", emotion=e) for n in (1, 10, 2, 11) for e in EMOTIONS]
    splits = make_splits(clips, "mine", protocol("speaker_folds", folds=4))
    assert [len({it.speaker for it in split.test}) for split in splits] == [1] * 4
    assert make_splits(clips[::-1], "mine", protocol("speaker_folds", folds=4)) == splits


@pytest.mark.parametrize("kind", ["speaker_folds", "random"])
def test_a_protocol_of_one_corpus_leaves_the_others_out(kind: str) -> None:
    clips = [
        make_clip(
            f"{corpus}/s{speaker}/{emotion}{take}", corpus=corpus, speaker=f"{corpus}/s{speaker}", emotion=emotion
        )
        for corpus in ("one", "two")
        for speaker in range(3)
        for emotion in EMOTIONS
        for take in range(3)
    ]
    config = protocol(kind, folds=3, corpora=["two"])
    splits = make_splits(clips, "mine", config)
    assert {
        clip.corpus for split in splits for part in (split.train, split.validation, split.test) for clip in part
    } == {"two"}
    alone = make_splits([clip for clip in clips if clip.corpus == "two"], "mine", protocol(kind, folds=3))
    assert splits == alone
    with pytest.raises(CorpusError, match=r"protocols\.mine\.corpora: no clip of the corpus three; valid: one, two"):
        make_splits(clips, "mine", protocol(kind, folds=3, corpora=["three"]))
