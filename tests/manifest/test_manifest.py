"""The manifest: rows survive a round trip, and every clip is kept or left out with a reason."""

from dataclasses import fields
from pathlib import Path

import pytest
from conftest import QUICK, make_clip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_manifest.manifest.clips import (
    ALL_EMOTIONS,
    Clip,
    Exclusion,
    ManifestConfig,
    build_manifest,
    read_rows,
    write_rows,
)
from data_manifest.manifest.media_table import MediaRow, media_notes, media_reason, read_media_table
from data_manifest.manifest.paths import is_below
from pipeline.base.errors import CorpusError, PipelineError, StoreError
from pipeline.base.params import check

# Names may contain commas, quotes, line breaks, what a spreadsheet takes for a formula, and any letter.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.text(CHARACTERS) | st.text("'=+-@\t\r\n", max_size=3)
PATH = TEXT.filter(is_below)
COLUMNS = [column.name for column in fields(Clip)]
EXCLUSIONS = st.builds(Exclusion, TEXT, TEXT, TEXT, TEXT)
CLIPS = st.builds(
    Clip,
    clip_id=TEXT.filter(bool),
    corpus=TEXT.filter(bool),
    path=PATH,
    audio_path=st.just("") | PATH,
    speaker=TEXT.filter(bool),
    **dict.fromkeys(("emotion", "split", "sentence"), TEXT),
    modalities=st.sampled_from(["visual", "acoustic", "visual+acoustic"]),
    duration_s=st.floats(0, 1e6),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
)


@settings(QUICK, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    clips=st.lists(CLIPS, max_size=5, unique_by=lambda clip: clip.clip_id), exclusions=st.lists(EXCLUSIONS, max_size=5)
)
def test_rows_are_read_back_sorted(tmp_path: Path, clips: list[Clip], exclusions: list[Exclusion]) -> None:
    write_rows(tmp_path / "clips.csv", clips, Clip)
    write_rows(tmp_path / "exclusions.csv", exclusions, Exclusion)
    assert read_rows(tmp_path / "clips.csv", Clip) == sorted(clips, key=lambda row: (row.clip_id, row.path))
    expected = sorted(exclusions, key=lambda row: (row.clip_id, row.path))
    assert read_rows(tmp_path / "exclusions.csv", Exclusion) == expected


def test_file_has_the_documented_columns_and_does_not_depend_on_order(tmp_path: Path) -> None:
    clips = [make_clip("b"), make_clip("a", speaker="Ö, 1"), make_clip("c")]
    write_rows(tmp_path / "one.csv", clips, Clip)
    write_rows(tmp_path / "two.csv", reversed(clips), Clip)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    lines = (tmp_path / "one.csv").read_bytes().decode().split("\n")
    assert lines[0] == "clip_id,corpus,path,audio_path,speaker,emotion,split,sentence,modalities,duration_s,sha256"
    assert lines[1] == f'a,test,a.mp4,,"Ö, 1",anger,,,visual+acoustic,1.0,{clips[1].sha256}'
    write_rows(tmp_path / "none.csv", [], Exclusion)
    assert (tmp_path / "none.csv").read_text() == "clip_id,path,stage,reason\n"


@pytest.mark.parametrize("text", ["", "clip_id,path\na,b\n", "path,clip_id,stage,reason\n"])
def test_file_with_other_columns_is_refused_with_the_stage_to_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "exclusions.csv").write_text(text)
    with pytest.raises(StoreError, match=r"exclusions\.csv has the columns .*; run: dvc repro manifest$"):
        read_rows(tmp_path / "exclusions.csv", Exclusion)


def test_missing_file_is_reported_with_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"manifest\.csv does not exist; run: dvc repro manifest$"):
        read_rows(tmp_path / "manifest.csv", Clip)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"path": "../../etc/passwd"}, "path = '../../etc/passwd': is not a path below the corpus's root"),
        ({"path": "a/../../b.mp4"}, "path = 'a/../../b.mp4': is not a path below"),
        ({"path": "/etc/passwd"}, "path = '/etc/passwd': is not a path below"),
        ({"path": ""}, "path = '': is not a path below"),
        ({"path": "."}, "path = '.': is not a path below"),
        ({"audio_path": "/dev/zero"}, "audio_path = '/dev/zero'"),
        ({"duration_s": "nan"}, "duration_s = 'nan': Input should be a finite number"),
        ({"duration_s": "inf"}, "duration_s = 'inf': Input should be a finite number"),
        ({"duration_s": "1e400"}, "duration_s = '1e400': Input should be a finite number"),
        ({"duration_s": "-1"}, "duration_s = '-1': Input should be greater than or equal to 0"),
        ({"duration_s": "long"}, "duration_s = 'long': Input should be a valid number"),
        ({"modalities": "smell"}, "modalities = 'smell'"),
        ({"sha256": "0" * 63}, "sha256 = '000"),
        ({"sha256": "G" * 64}, "sha256 = 'GGG"),
        ({"clip_id": "a"}, "the id 'a' is that of line 2, too"),
        ({"clip_id": ""}, "clip_id = ''"),
        ({"speaker": "\x1b[31m" + "x" * 10_000}, ""),
        ({"sha256": "\x1b" + "x" * 10_000}, "sha256 = '\\x1bxxx"),
        ({"sha256": None}, "the value of sha256 is missing"),
        ({"sha256": f"{'0' * 64},more"}, "more values than columns"),
        ({"clip_id": "x" * 200_000}, "field larger than field limit"),
        ({"clip_id": "\0"}, "a NUL character"),
    ],
)
def test_wrong_row_of_a_table_made_by_hand_is_one_line(
    tmp_path: Path, changes: dict[str, str | None], words: str
) -> None:
    path = tmp_path / "manifest.csv"
    write_rows(path, [make_clip("a")], Clip)
    values = dict(zip(COLUMNS, path.read_text().splitlines()[1].split(","), strict=True)) | {"clip_id": "b"} | changes
    path.write_text(path.read_text() + ",".join(it for it in values.values() if it is not None) + "\n")
    if not words:
        assert len(read_rows(path, Clip)) == 2
        return
    with pytest.raises(StoreError) as error:
        read_rows(path, Clip)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "line 3" in message and words in message
    assert message.isprintable() and len(message) < 700


def test_table_in_another_encoding_is_one_line(tmp_path: Path) -> None:
    write_rows(tmp_path / "manifest.csv", [make_clip("é")], Clip)
    content = (tmp_path / "manifest.csv").read_text()
    (tmp_path / "manifest.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match=r"manifest\.csv is not in UTF-8"):
        read_rows(tmp_path / "manifest.csv", Clip)


def test_row_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "exclusions.csv").write_text("clip_id,path,stage,reason\na,b\n")
    with pytest.raises(StoreError, match=r"exclusions\.csv, line 2: the value of stage is missing"):
        read_rows(tmp_path / "exclusions.csv", Exclusion)


def test_audio_source_is_the_separate_file_if_there_is_one() -> None:
    assert make_clip("a").audio_source == "a.mp4"
    assert make_clip("a", audio_path="sound/a.wav").audio_source == "sound/a.wav"


def test_labels_are_merged_once_and_others_are_kept() -> None:
    clips = [make_clip(emotion, emotion=emotion) for emotion in ("calm", "neutral", "excitement", "fear")]
    config = ManifestConfig(merge={"calm": "neutral", "neutral": "sadness", "excitement": "happiness"})
    kept, left_out = build_manifest(clips, [], config)
    expected = {"calm": "neutral", "neutral": "sadness", "excitement": "happiness", "fear": "fear"}
    assert {clip.clip_id: clip.emotion for clip in kept} == expected
    assert left_out == []


@pytest.mark.parametrize("merge", [{"calmness": "neutral"}, {"calm": "nuetral"}])
def test_merging_an_unknown_emotion_is_refused(merge: dict[str, str]) -> None:
    with pytest.raises(PipelineError, match=r"^manifest\.merge.*'(calmness|nuetral)'.* valid: anger"):
        build_manifest([make_clip("a")], [], check({"merge": merge}, ManifestConfig, where="manifest"))


def test_clips_of_unknown_emotion_are_left_out() -> None:
    kept, left_out = build_manifest([make_clip("a"), make_clip("b", emotion="joy")], [], ManifestConfig())
    assert [clip.clip_id for clip in kept] == ["a"]
    assert left_out == [Exclusion("b", "b.mp4", "manifest", "unknown emotion 'joy'; manifest.merge can rename it")]


@pytest.mark.parametrize(("modalities", "expected"), [("keep", ["both", "acoustic", "visual"]), ("require", ["both"])])
def test_clips_without_a_modality_are_kept_unless_required(modalities: str, expected: list[str]) -> None:
    clips = [make_clip("both"), make_clip("acoustic", modalities="acoustic"), make_clip("visual", modalities="visual")]
    kept, left_out = build_manifest(clips, [], ManifestConfig.model_validate({"modalities": modalities}))
    assert [clip.clip_id for clip in kept] == expected
    reasons = {row.clip_id: row.reason for row in left_out}
    if modalities == "require":
        assert reasons == {
            "acoustic": "only acoustic, but manifest.modalities is require",
            "visual": "only visual, but manifest.modalities is require",
        }


def test_duplicate_clip_id_is_refused() -> None:
    clips = [make_clip("a", path="x/a.mp4"), make_clip("b"), make_clip("a", path="y/a.mp4")]
    with pytest.raises(CorpusError, match=r"^two clips have the id 'a': x/a\.mp4 and y/a\.mp4$"):
        build_manifest(clips, [], ManifestConfig())


def test_duplicates_are_left_out_and_all_copies_if_their_labels_differ() -> None:
    clips = [
        make_clip("b", sha256="x"),
        make_clip("a", sha256="x"),
        make_clip("c", sha256="y", emotion="fear"),
        make_clip("d", sha256="y", emotion="anger"),
        make_clip("e", sha256="z", speaker="test/s1"),
        make_clip("f", sha256="z", speaker="test/s2"),
        make_clip("g"),
    ]
    kept, left_out = build_manifest(clips, [], ManifestConfig())
    assert [clip.clip_id for clip in kept] == ["a", "g"]
    other = "which has another label or speaker"
    assert {row.clip_id: row.reason for row in left_out} == {
        "b": "the same bytes as a",
        "c": f"the same bytes as d, {other}",
        "d": f"the same bytes as c, {other}",
        "e": f"the same bytes as f, {other}",
        "f": f"the same bytes as e, {other}",
    }


def test_too_short_and_too_long_clips_are_left_out() -> None:
    clips = [make_clip(name, duration_s=length) for name, length in (("a", 3600), ("b", 0.09), ("c", 0.1), ("d", 9))]
    kept, left_out = build_manifest(clips, [], ManifestConfig(min_duration_s=0.1, max_duration_s=9))
    assert [clip.clip_id for clip in kept] == ["c", "d"]
    assert {row.clip_id: row.reason for row in left_out} == {
        "a": "too long: 3600 s, more than manifest.max_duration_s",
        "b": "too short: 0.09 s, less than manifest.min_duration_s",
    }


def test_custom_label_can_be_merged() -> None:
    kept, _ = build_manifest([make_clip("a", emotion="boredom")], [], ManifestConfig(merge={"boredom": "neutral"}))
    assert kept[0].emotion == "neutral"


def test_empty_manifest_is_an_error_with_the_first_reason() -> None:
    with pytest.raises(
        CorpusError, match=r"^the manifest is empty: 2 clips were left out; the first: x\.mp4: is damaged$"
    ):
        earlier = [Exclusion("x", "x.mp4", "corpus", "is damaged")]
        build_manifest([make_clip("a", emotion="joy")], earlier, ManifestConfig())
    with pytest.raises(CorpusError, match=r"^the manifest is empty: 0 clips were left out$"):
        build_manifest([], [], ManifestConfig())


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
def test_every_clip_is_either_kept_or_left_out(
    kinds: list[tuple[str, str]], earlier: list[Exclusion], modalities: str
) -> None:
    clips = [
        make_clip(f"clip{number}", emotion=emotion, modalities=clip_modalities)
        for number, (emotion, clip_modalities) in enumerate([("anger", "visual+acoustic"), *kinds])
    ]
    kept, left_out = build_manifest(clips, earlier, ManifestConfig.model_validate({"modalities": modalities}))
    assert left_out[: len(earlier)] == earlier
    added = left_out[len(earlier) :]
    clip_ids = [clip.clip_id for clip in kept] + [row.clip_id for row in added]
    assert sorted(clip_ids) == sorted(clip.clip_id for clip in clips)
    assert all(row.reason and row.path for row in added)


def test_clips_that_were_cut_short_are_left_out_with_both_lengths(tmp_path: Path) -> None:
    lengths = {"a.mp4": (5, 5.05), "b.mp4": (3, 5), "c.mp4": (4.6, 5), "d.mp4": (3, 0), "e.wav": (0.05, 0.14)}
    rows = [f"{path},{decoded},{promised},-20,0" for path, (decoded, promised) in lengths.items()]
    (tmp_path / "media.csv").write_text("\n".join(["path,decoded_s,promised_s,loudest_dbfs,one_colour", *rows]))
    media = {"test": read_media_table(tmp_path / "media.csv")}
    clips = [*map(make_clip, "abcd"), make_clip("e", audio_path="e.wav")]
    kept, left_out = build_manifest(
        clips, [], ManifestConfig(), lambda it: media_reason(it, media["test"], ManifestConfig(), silence_dbfs=-80)
    )
    assert [it.clip_id for it in kept] == ["a", "c", "d", "e"]
    reason = "b.mp4 is cut short: 3.00 of 5.00 s can be decoded, less than manifest.min_complete = 0.9 allows"
    assert [(it.clip_id, it.stage, it.reason) for it in left_out] == [("b", "manifest", reason)]
    media["test"]["e.mp4"] = MediaRow(1, 1)
    assert media_notes(kept, media, silence_dbfs=-80) == ["files announce more than they hold in 1 clip: c (92%)"]
    assert media_notes(kept[:1], media, silence_dbfs=-80) == []


def test_clips_without_anything_to_hear_or_see_are_named(tmp_path: Path) -> None:
    rows = ["a.mp4,1,1,-200,1", "b.mp4,1,1,-79.9,0", "b.wav,1,1,-80.1,0", "c.wav,1,1,-90,0", "d.mp4,1,1,nan,0"]
    (tmp_path / "media.csv").write_text("\n".join(["path,decoded_s,promised_s,loudest_dbfs,one_colour", *rows]))
    media = {"test": read_media_table(tmp_path / "media.csv")}
    clips = [
        make_clip("a", modalities="visual"),  # its sound is not used
        make_clip("b", audio_path="b.wav"),
        make_clip("c", path="c.wav", modalities="acoustic"),
        make_clip("d"),
    ]
    assert media_notes(clips, media, silence_dbfs=-80) == [
        "the sound will count as absent, below spectrograms.silence_dbfs = -80, in 2 clips: b (-80 dBFS), c (-90 dBFS)",
        "the picture will count as absent, one colour throughout, in 1 clip: a",
    ]
    assert len(media_notes(clips, media, silence_dbfs=-100)) == 1
    reasons = [
        [media_reason(clip, media["test"], ManifestConfig(modalities=modalities), silence_dbfs=-80) for clip in clips]
        for modalities in ("keep", "require")
    ]
    but = ", but manifest.modalities is require"
    assert reasons == [
        [""] * 4,
        [
            f"its picture is one colour throughout{but}",
            f"its sound is silent: -80 dBFS in its loudest second{but}",
            f"its sound is silent: -90 dBFS in its loudest second{but}",
            "",
        ],
    ]


@pytest.mark.parametrize("table", ["path,duration_s\na.mp4,5", "path,decoded_s,promised_s\na.mp4,5,5"])
def test_a_media_table_that_is_damaged_is_one_line(table: str, tmp_path: Path) -> None:
    (tmp_path / "media.csv").write_text(table)
    with pytest.raises(StoreError, match=r"media\.csv lacks a number .*run: dvc repro --force"):
        read_media_table(tmp_path / "media.csv")
