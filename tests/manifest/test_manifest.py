"""The manifest's contract: what is written comes back, and every clip is in it or left out for a reason."""

from dataclasses import fields
from pathlib import Path

import pytest
from conftest import QUICK, make_clip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_manifest.manifest.clips import ALL_EMOTIONS, Clip, Exclusion, ManifestConfig, assemble, read_rows, write_rows
from pipeline.base.errors import CorpusError, PipelineError, StoreError
from pipeline.base.params import check

# Names hold commas, quotes, line feeds and any letter. No \r: csv writes it bare, and reads it as a line's end.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))
EXCLUSIONS = st.builds(Exclusion, TEXT, TEXT, TEXT, TEXT)
CLIPS = st.builds(
    Clip,
    **{column.name: TEXT for column in fields(Clip) if column.name != "duration_s"},
    duration_s=st.floats(0, 1e6),
)


@settings(QUICK, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clips=st.lists(CLIPS, max_size=5), exclusions=st.lists(EXCLUSIONS, max_size=5))
def test_what_was_written_comes_back_sorted(tmp_path: Path, clips: list[Clip], exclusions: list[Exclusion]) -> None:
    write_rows(tmp_path / "clips.csv", clips, Clip)
    write_rows(tmp_path / "exclusions.csv", exclusions, Exclusion)
    assert read_rows(tmp_path / "clips.csv", Clip) == sorted(clips, key=lambda row: (row.clip_id, row.path))
    expected = sorted(exclusions, key=lambda row: (row.clip_id, row.path))
    assert read_rows(tmp_path / "exclusions.csv", Exclusion) == expected


def test_the_columns_are_those_of_the_contract_and_the_file_is_the_same_for_any_order(tmp_path: Path) -> None:
    clips = [make_clip("b"), make_clip("a", speaker="Ö, 1"), make_clip("c")]
    write_rows(tmp_path / "one.csv", clips, Clip)
    write_rows(tmp_path / "two.csv", reversed(clips), Clip)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    lines = (tmp_path / "one.csv").read_bytes().decode().split("\n")
    assert lines[0] == "clip_id,corpus,path,audio_path,speaker,emotion,split,sentence,modalities,duration_s,sha256"
    assert lines[1] == 'a,test,a.mp4,,"Ö, 1",anger,,,visual+acoustic,1.0,a'
    write_rows(tmp_path / "none.csv", [], Exclusion)
    assert (tmp_path / "none.csv").read_text() == "clip_id,path,stage,reason\n"


@pytest.mark.parametrize("text", ["", "clip_id,path\na,b\n", "path,clip_id,stage,reason\n"])
def test_a_file_with_other_columns_is_refused_with_the_stage_to_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "exclusions.csv").write_text(text)
    with pytest.raises(StoreError, match=r"exclusions\.csv has the columns .*; run: dvc repro manifest$"):
        read_rows(tmp_path / "exclusions.csv", Exclusion)


def test_a_file_that_is_not_there_is_named_with_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"manifest\.csv is not there; run: dvc repro manifest$"):
        read_rows(tmp_path / "manifest.csv", Clip)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",1.0,b", "", "another number of values"),
        (",1.0,b", ",1.0,b,more", "another number of values"),
        (",1.0,b", ",long,b", "could not convert string to float: 'long'"),
    ],
)
def test_a_row_that_was_spoiled_by_hand_is_named_by_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "manifest.csv"
    write_rows(path, [make_clip("a"), make_clip("b")], Clip)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(StoreError, match=rf"manifest\.csv, line 3: .*{words}.*run: dvc repro"):
        read_rows(path, Clip)


def test_sound_lies_in_a_file_of_its_own_or_in_the_clips() -> None:
    assert make_clip("a").sound == "a.mp4"
    assert make_clip("a", audio_path="sound/a.wav").sound == "sound/a.wav"


def test_labels_are_merged_once_and_others_stay() -> None:
    clips = [make_clip(emotion, emotion=emotion) for emotion in ("calm", "neutral", "excitement", "fear")]
    config = ManifestConfig(merge={"calm": "neutral", "neutral": "sadness", "excitement": "happiness"})
    kept, left_out = assemble(clips, [], config)
    expected = {"calm": "neutral", "neutral": "sadness", "excitement": "happiness", "fear": "fear"}
    assert {clip.clip_id: clip.emotion for clip in kept} == expected
    assert left_out == []


@pytest.mark.parametrize("merge", [{"calmness": "neutral"}, {"calm": "nuetral"}])
def test_an_emotion_that_nobody_knows_cannot_be_merged(merge: dict[str, str]) -> None:
    with pytest.raises(PipelineError, match=r"^manifest\.merge.*'(calmness|nuetral)'.* valid: anger"):
        assemble([make_clip("a")], [], check({"merge": merge}, ManifestConfig, where="manifest"))


def test_unknown_emotions_are_left_out_by_name() -> None:
    kept, left_out = assemble([make_clip("a"), make_clip("b", emotion="joy")], [], ManifestConfig())
    assert [clip.clip_id for clip in kept] == ["a"]
    assert left_out == [Exclusion("b", "b.mp4", "manifest", "unknown emotion 'joy'; manifest.merge can rename it")]


@pytest.mark.parametrize(("modalities", "expected"), [("keep", ["both", "heard", "seen"]), ("require", ["both"])])
def test_clips_that_lack_a_modality_are_kept_or_left_out_as_asked(modalities: str, expected: list[str]) -> None:
    clips = [make_clip("both"), make_clip("heard", modalities="acoustic"), make_clip("seen", modalities="visual")]
    kept, left_out = assemble(clips, [], ManifestConfig.model_validate({"modalities": modalities}))
    assert [clip.clip_id for clip in kept] == expected
    reasons = {row.clip_id: row.reason for row in left_out}
    if modalities == "require":
        assert reasons == {
            "heard": "has acoustic only, and manifest.modalities is require",
            "seen": "has visual only, and manifest.modalities is require",
        }


def test_two_corpora_may_not_give_one_name_to_two_clips() -> None:
    clips = [make_clip("a", path="x/a.mp4"), make_clip("b"), make_clip("a", path="y/a.mp4")]
    with pytest.raises(CorpusError, match=r"^two clips are named a: x/a\.mp4 and y/a\.mp4$"):
        assemble(clips, [], ManifestConfig())


def test_of_clips_with_the_same_bytes_one_stays_and_none_whose_labels_differ() -> None:
    clips = [
        make_clip("b", sha256="x"),
        make_clip("a", sha256="x"),
        make_clip("c", sha256="y", emotion="fear"),
        make_clip("d", sha256="y", emotion="anger"),
        make_clip("e", sha256="z", speaker="test/s1"),
        make_clip("f", sha256="z", speaker="test/s2"),
        make_clip("g"),
    ]
    kept, left_out = assemble(clips, [], ManifestConfig())
    assert [clip.clip_id for clip in kept] == ["a", "g"]
    other = "which has another label or speaker"
    assert {row.clip_id: row.reason for row in left_out} == {
        "b": "the same bytes as a",
        "c": f"the same bytes as d, {other}",
        "d": f"the same bytes as c, {other}",
        "e": f"the same bytes as f, {other}",
        "f": f"the same bytes as e, {other}",
    }


def test_a_clip_shorter_or_longer_than_asked_for_is_left_out() -> None:
    clips = [make_clip(name, duration_s=length) for name, length in (("a", 3600), ("b", 0.09), ("c", 0.1), ("d", 9))]
    kept, left_out = assemble(clips, [], ManifestConfig(min_duration_s=0.1, max_duration_s=9))
    assert [clip.clip_id for clip in kept] == ["c", "d"]
    assert {row.clip_id: row.reason for row in left_out} == {
        "a": "too long: 3600 s, more than manifest.max_duration_s",
        "b": "too short: 0.09 s, less than manifest.min_duration_s",
    }


def test_a_label_of_ones_own_can_be_merged() -> None:
    kept, _ = assemble([make_clip("a", emotion="boredom")], [], ManifestConfig(merge={"boredom": "neutral"}))
    assert kept[0].emotion == "neutral"


def test_an_empty_manifest_is_an_error_that_tells_the_first_reason() -> None:
    with pytest.raises(CorpusError, match=r"^no clip is left; 2 were left out; the first: x\.mp4: is damaged$"):
        earlier = [Exclusion("x", "x.mp4", "corpus", "is damaged")]
        assemble([make_clip("a", emotion="joy")], earlier, ManifestConfig())
    with pytest.raises(CorpusError, match=r"^no clip is left; 0 were left out$"):
        assemble([], [], ManifestConfig())


@QUICK
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*ALL_EMOTIONS, "joy", ""]),
            st.sampled_from(["visual", "acoustic", "visual+acoustic"]),
        ),
        max_size=12,
    ),
    st.lists(EXCLUSIONS, max_size=3),
    st.sampled_from(["keep", "require"]),
)
def test_every_clip_that_comes_in_goes_out_in_exactly_one_of_the_two(
    kinds: list[tuple[str, str]], earlier: list[Exclusion], modalities: str
) -> None:
    clips = [
        make_clip(f"clip{number}", emotion=emotion, modalities=there)
        for number, (emotion, there) in enumerate([("anger", "visual+acoustic"), *kinds])
    ]
    kept, left_out = assemble(clips, earlier, ManifestConfig.model_validate({"modalities": modalities}))
    assert left_out[: len(earlier)] == earlier
    new = left_out[len(earlier) :]
    told = [clip.clip_id for clip in kept] + [row.clip_id for row in new]
    assert sorted(told) == sorted(clip.clip_id for clip in clips)
    assert all(row.reason and row.path for row in new)
