"""Corpora on disk: every media file becomes a clip or an exclusion with its reason; mistakes are named."""

import csv
import errno
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_media

import stages.corpus
import stages.manifest
from data_manifest.corpora import table as table_adapter
from data_manifest.corpora.adapters import CorpusConfig
from data_manifest.corpora.findings import MEDIA_SUFFIXES, Candidate, media_files
from data_manifest.corpora.probing import probe_corpus
from data_manifest.corpora.probing import write_media as write_media_table
from data_manifest.manifest.clips import Clip, Exclusion, read_rows
from pipeline.base.errors import CorpusError, ParameterError, PipelineError
from pipeline.base.params import check
from pipeline.parallel.pool import ExecutionConfig

RUN = ExecutionConfig(scheduler="synchronous", max_failures=1)
FRAMES = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None, None] * 20, (10, 32, 32, 3)).copy()
SOUND = np.sin(np.arange(6400) * 0.1).astype(np.float32)  # 0.4 s at 16 kHz, as long as 10 frames at 25 a second


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one.mp4 and two.mp4 (different), silent.mp4, sound.wav, and files that no decoder can read."""
    folder = tmp_path_factory.mktemp("media")
    write_media(folder / "one.mp4", frames=FRAMES, sound=SOUND)
    write_media(folder / "two.mp4", frames=FRAMES[:5], sound=SOUND)
    write_media(folder / "silent.mp4", frames=FRAMES)
    write_media(folder / "sound.wav", sound=SOUND)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no film\n" * 100)
    content = (folder / "one.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    return folder


def place(media: Path, root: Path, files: dict[str, str]) -> None:
    for target, source in files.items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(media / source, root / target)


def table(root: Path, *rows: dict[str, str], name: str = "clips.csv") -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (root / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def found(root: Path, adapter: str, **options: Any) -> tuple[dict[str, Clip], dict[str, str]]:
    """Return the clips by path and the reasons against the others by path."""
    config = CorpusConfig(adapter=adapter, root=str(root), options=options)
    corpus = probe_corpus("mine", config, RUN)
    assert {it.stage for it in corpus.exclusions} <= {"corpus"}
    assert all(it.clip_id.startswith("mine/") for it in corpus.exclusions)
    return {clip.path: clip for clip in corpus.clips}, {it.path: it.reason for it in corpus.exclusions}


def test_every_file_of_a_folder_is_a_clip_or_left_out_for_a_reason(media: Path, tmp_path: Path) -> None:
    good = {"Anger/anna_1.mp4": "one.mp4", "fear/anna_2.MP4": "two.mp4"}
    bad = {f"fear/bob_{name}.mp4": f"{name}.mp4" for name in ("empty", "text", "cut")}
    lost = {"carl_1.mp4": "one.mp4", "fear/unnamed.mp4": "one.mp4", "fear/_1.mp4": "one.mp4"}
    place(media, tmp_path, good | bad | lost | {"fear/notes.txt": "text.mp4", "fear/._anna_3.mp4": "text.mp4"})
    clips, reasons = found(tmp_path, "folder")
    assert {path: (clip.emotion, clip.speaker) for path, clip in clips.items()} == {
        "Anger/anna_1.mp4": ("anger", "mine/anna"),
        "fear/anna_2.MP4": ("fear", "mine/anna"),
    }
    assert reasons.keys() == (bad | lost).keys()
    assert reasons["fear/bob_empty.mp4"] == "zero bytes"
    assert all(reasons[f"fear/bob_{name}.mp4"].startswith("cannot be decoded: ") for name in ("text", "cut"))
    assert reasons["carl_1.mp4"] == "lies in no emotion's folder"
    assert reasons["fear/unnamed.mp4"] == reasons["fear/_1.mp4"] == "its name does not begin with a speaker and _"


def test_a_clip_without_sound_or_without_picture_stays_and_says_so(media: Path, tmp_path: Path) -> None:
    sources = {"fear/a_1.mp4": "one.mp4", "fear/a_2.mp4": "silent.mp4", "fear/a_3.wav": "sound.wav"}
    place(media, tmp_path, sources)
    clips, reasons = found(tmp_path, "folder")
    assert [clips[path].modalities for path in sources] == ["visual+acoustic", "visual", "acoustic"]
    assert clips["fear/a_3.wav"].duration_s == pytest.approx(0.4, abs=1e-6)
    assert reasons == {}


def test_a_listed_clip_is_known_to_the_letter(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"dev/anna/take 1.mp4": "one.mp4"})
    row = {"path": "dev/anna/take 1.mp4", "emotion": "fear", "speaker": "anna", "split": "dev", "sentence": "Ça, va"}
    table(tmp_path, row)
    corpus = probe_corpus("mine", CorpusConfig(adapter="csv", root=str(tmp_path)), RUN)
    assert corpus.exclusions == []
    (clip,) = corpus.clips
    expected = Clip(
        clip_id="mine/dev/anna/take 1",
        corpus="mine",
        path="dev/anna/take 1.mp4",
        audio_path="",
        speaker="mine/anna",
        emotion="fear",
        split="dev",
        sentence="Ça, va",
        modalities="visual+acoustic",
        duration_s=clip.duration_s,
        sha256=hashlib.sha256((media / "one.mp4").read_bytes()).hexdigest(),
    )
    assert clip == expected
    assert 0.4 <= clip.duration_s <= 0.4 + 2 * 0.064  # AAC primes its decoder and ends on a whole frame of 64 ms


def test_sound_in_a_file_of_its_own_belongs_to_the_clip(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"a.mp4": "silent.mp4", "a.wav": "sound.wav", "b.mp4": "two.mp4", "c.mp4": "one.mp4"})
    shared = {"emotion": "fear", "speaker": "s"}
    table(
        tmp_path,
        {"path": "a.mp4", "audio_path": "a.wav", **shared},
        {"path": "b.mp4", "audio_path": "b.wav", **shared},
        {"path": "c.mp4", "audio_path": "", **shared},
    )
    clips, reasons = found(tmp_path, "csv")
    assert (clips["a.mp4"].modalities, clips["a.mp4"].sound, clips["c.mp4"].sound) == (
        "visual+acoustic",
        "a.wav",
        "c.mp4",
    )
    contents = [hashlib.sha256((media / name).read_bytes()).hexdigest() for name in ("silent.mp4", "sound.wav")]
    assert clips["a.mp4"].sha256 == hashlib.sha256("".join(contents).encode()).hexdigest()
    assert clips["b.mp4"].sound == "b.mp4"  # it does without the file that is not there
    assert reasons == {"b.wav": "listed in clips.csv, but it is not there"}


def test_a_file_that_serves_two_clips_leaves_none_of_them_where_they_disagree(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"a.mp4": "silent.mp4", "a.wav": "sound.wav", "b.mp4": "one.mp4", "c.mp4": "two.mp4"})
    rows = [("a.mp4", "s2", "a.wav"), ("b.mp4", "s1", "a.wav"), ("c.mp4", "s1", "")]
    table(tmp_path, *({"path": p, "emotion": "fear", "speaker": s, "audio_path": a} for p, s, a in rows))
    clips, reasons = found(tmp_path, "csv")
    assert list(clips) == ["c.mp4"]
    assert set(reasons.values()) == {
        "the same bytes as mine/s1/b, which has another label or speaker",
        "the same bytes as mine/s2/a, which has another label or speaker",
    }


def test_blanks_around_values_are_no_part_of_them_and_paths_may_be_spelt_in_any_way(
    media: Path, tmp_path: Path
) -> None:
    place(media, tmp_path, {"a.mp4": "one.mp4", "sub/b.mp4": "two.mp4"})
    rows = [("a.mp4 ", " hi "), (str(tmp_path / "sub" / ".." / "sub" / "b.mp4"), "hi")]
    table(tmp_path, *({"path": p, "emotion": " Fear", "speaker": "s ", "sentence": said} for p, said in rows))
    clips, reasons = found(tmp_path, "csv")
    assert {path: (it.sentence, it.speaker, it.emotion) for path, it in clips.items()} == {
        "a.mp4": ("hi", "mine/s", "fear"),
        "sub/b.mp4": ("hi", "mine/s", "fear"),
    }
    assert not reasons
    table(tmp_path, {"path": "../elsewhere.mp4", "emotion": "fear", "speaker": "s"})
    with pytest.raises(CorpusError, match=r"line 2: \.\./elsewhere\.mp4 does not lie below"):
        found(tmp_path, "csv")


def test_every_file_of_a_row_without_its_label_is_accounted_for(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"a.mp4": "silent.mp4", "a.wav": "sound.wav", "b.mp4": "two.mp4"})
    rows = [("a.mp4", "", "a.wav"), ("b.mp4", "fear", "")]
    table(tmp_path, *({"path": p, "emotion": e, "speaker": "s", "audio_path": a} for p, e, a in rows))
    _, reasons = found(tmp_path, "csv")
    assert reasons == dict.fromkeys(("a.mp4", "a.wav"), "has no emotion in clips.csv")


def test_a_table_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text('path,emotion,speaker\n"' + "x" * 200_000)
    with pytest.raises(CorpusError, match=r"clips\.csv is no CSV that can be read"):
        found(tmp_path, "csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CorpusError, match="folder cannot be read: Is a directory"):
        table_adapter.find(tmp_path, {"table": "folder"})
    with pytest.raises(CorpusError, match=r"other\.csv is not there; .* there are clips\.csv, folder"):
        table_adapter.find(tmp_path, {"table": "other.csv"})


def test_what_is_listed_and_what_is_there_may_differ_and_both_are_told(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"a.mp4": "one.mp4", "extra/b.mp4": "two.mp4", "bad.mp4": "empty.mp4"})
    table(tmp_path, *({"path": path, "emotion": "fear", "speaker": "s"} for path in ("a.mp4", "gone.mp4", "bad.mp4")))
    clips, reasons = found(tmp_path, "csv")
    assert list(clips) == ["a.mp4"]
    assert reasons == {
        "bad.mp4": "zero bytes",
        "gone.mp4": "listed in clips.csv, but it is not there",
        "extra/b.mp4": "not listed in clips.csv",
    }


@pytest.mark.parametrize("column", ["emotion", "speaker", "path"])
@pytest.mark.parametrize("kind", ["empty", "absent"])
def test_a_row_without_its_label_is_left_out_and_says_what_it_lacks(
    media: Path, tmp_path: Path, column: str, kind: str
) -> None:
    place(media, tmp_path, {"a.mp4": "one.mp4", "b.mp4": "two.mp4"})
    columns = ["path", "emotion", "speaker"]
    columns = [name for name in columns if name != column] + [column]
    good, bad = ({"path": path, "emotion": "fear", "speaker": "s"} for path in ("a.mp4", "b.mp4"))
    bad[column] = ""
    lines = [",".join(row[name] for name in columns) for row in (good, bad)]
    lines[1] = lines[1].rstrip(",") if kind == "absent" else lines[1]
    (tmp_path / "clips.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
    clips, reasons = found(tmp_path, "csv")
    assert list(clips) == ["a.mp4"]
    expected = {"b.mp4": f"has no {column} in clips.csv"}
    if column == "path":
        expected = {"clips.csv, line 3": "has no path in clips.csv", "b.mp4": "not listed in clips.csv"}
    assert reasons == expected


def test_a_row_with_more_cells_than_columns_is_told_and_no_crash(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"a.mp4": "one.mp4"})
    (tmp_path / "clips.csv").write_text("path,emotion,speaker\na.mp4,fear,s,surplus\n")
    with pytest.raises(CorpusError, match=r"clips\.csv.*line 2"):
        found(tmp_path, "csv")


@pytest.mark.parametrize("header", ["path,emotion", "path,emotion,speaker,sex", "", "path;emotion;speaker"])
def test_a_table_with_wrong_columns_says_which_it_needs(tmp_path: Path, header: str) -> None:
    (tmp_path / "labels.csv").write_text(f"{header}\n")
    words = r"labels\.csv has the columns .*needs \['emotion', 'path', 'speaker'\].*'audio_path', 'sentence', 'split'"
    with pytest.raises(CorpusError, match=words):
        found(tmp_path, "csv", table="labels.csv")


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"labels\.csv is not there"):
        found(tmp_path, "csv", table="labels.csv")


@pytest.mark.parametrize(("adapter", "valid"), [("csv", "did you mean 'table'?"), ("folder", "unknown key")])
def test_an_unknown_option_of_an_adapter_is_refused(tmp_path: Path, adapter: str, valid: str) -> None:
    with pytest.raises(ParameterError) as error:
        found(tmp_path, adapter, tabel="labels.csv")
    assert "options.tabel: unknown key" in str(error.value)
    assert valid in str(error.value)


def test_a_table_that_a_spreadsheet_saved_with_a_byte_order_mark_is_read(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"ä.mp4": "one.mp4"})
    (tmp_path / "clips.csv").write_text("path,emotion,speaker\r\nä.mp4,fear,s\r\n", encoding="utf-8-sig")
    clips, reasons = found(tmp_path, "csv")
    assert ([clip.clip_id for clip in clips.values()], reasons) == (["mine/s/ä"], {})


def test_paths_may_be_listed_as_find_writes_them(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"a.mp4": "silent.mp4", "a.wav": "sound.wav"})
    table(tmp_path, {"path": "./a.mp4", "audio_path": ".//a.wav", "emotion": "fear", "speaker": "s"})
    clips, reasons = found(tmp_path, "csv")
    assert ([(clip.path, clip.audio_path) for clip in clips.values()], reasons) == ([("a.mp4", "a.wav")], {})


def test_a_table_in_another_encoding_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes("path,emotion,speaker\nä.mp4,fear,s\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"clips\.csv is not in UTF-8"):
        found(tmp_path, "csv")


def test_a_film_without_sound_given_as_the_sound_is_left_out_and_the_rest_stays(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"a.wav": "sound.wav", "a.mp4": "silent.mp4", "b.mp4": "one.mp4"})
    swapped = {"path": "a.wav", "audio_path": "a.mp4", "emotion": "fear", "speaker": "s"}
    table(tmp_path, swapped, {"path": "b.mp4", "emotion": "fear", "speaker": "s"})
    clips, reasons = found(tmp_path, "csv")
    assert {path: (clip.modalities, clip.audio_path) for path, clip in clips.items()} == {
        "a.wav": ("acoustic", ""),
        "b.mp4": ("visual+acoustic", ""),
    }
    assert reasons == {"a.mp4": "holds no sound"}


def test_links_to_folders_are_followed_and_never_in_circles(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"elsewhere/a_1.mp4": "one.mp4", "corpus/anger/b_1.mp4": "two.mp4"})
    (tmp_path / "corpus" / "fear").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "anger" / "again").symlink_to(tmp_path / "corpus")
    clips, reasons = found(tmp_path / "corpus", "folder")
    assert (sorted(clips), reasons) == (["anger/b_1.mp4", "fear/a_1.mp4"], {})


def test_two_folders_that_link_to_each_other_are_followed_once_each_way(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"anger/a_1.mp4": "one.mp4", "fear/b_1.mp4": "two.mp4"})
    (tmp_path / "anger" / "other").symlink_to(tmp_path / "fear")
    (tmp_path / "fear" / "other").symlink_to(tmp_path / "anger")
    assert media_files(tmp_path) == ["anger/a_1.mp4", "anger/other/b_1.mp4", "fear/b_1.mp4", "fear/other/a_1.mp4"]


def test_a_link_to_a_file_that_was_never_fetched_is_left_out_for_that_reason(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"fear/a_1.mp4": "one.mp4"})
    (tmp_path / "fear" / "a_2.mp4").symlink_to("../.git/annex/nothing")
    clips, reasons = found(tmp_path, "folder")
    assert (list(clips), reasons) == (["fear/a_1.mp4"], {"fear/a_2.mp4": "a link to nothing"})


def test_a_file_name_that_no_table_can_hold_is_named(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {os.fsdecode(b"fear/a_\xe9.mp4"): "one.mp4"})
    with pytest.raises(CorpusError, match=r"the file name 'fear/a_\\udce9\.mp4' is not UTF-8; rename it"):
        found(tmp_path, "folder")


def test_a_folder_that_may_not_be_read_is_no_empty_folder(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(media, tmp_path, {"fear/a_1.mp4": "one.mp4", "secret/a_2.mp4": "two.mp4"})
    scandir = os.scandir

    def forbidding(path: str) -> Any:
        if Path(path).name == "secret":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidding)  # a test may run as root, who may read everything
    with pytest.raises(CorpusError, match=r"secret cannot be read: Permission denied$"):
        found(tmp_path, "folder")


def test_too_many_broken_files_stop_the_run(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"fear/a_1.mp4": "one.mp4", "fear/a_2.mp4": "text.mp4"})
    config = CorpusConfig(adapter="folder", root=str(tmp_path))
    with pytest.raises(PipelineError, match=r"1 of 2 clips failed, more than run\.max_failures = 40%.*fear/a_2\.mp4"):
        probe_corpus("mine", config, ExecutionConfig(scheduler="synchronous", max_failures=0.4))


def test_two_files_of_one_clip_id_are_an_error_that_names_both(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"a.mp4": "one.mp4", "a.wav": "sound.wav"})
    table(tmp_path, *({"path": path, "emotion": "fear", "speaker": "s"} for path in ("a.mp4", "a.wav")))
    with pytest.raises(CorpusError, match=r"corpora\.mine: two files make one clip 'mine/s/a': a\.mp4 and a\.wav$"):
        found(tmp_path, "csv")


def test_film_and_sound_of_one_name_in_a_folder_are_one_clip(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"fear/a_1.mp4": "silent.mp4", "fear/a_1.wav": "sound.wav", "fear/a_1.mkv": "one.mp4"})
    clips, reasons = found(tmp_path, "folder")
    assert [(clip.path, clip.audio_path) for clip in clips.values()] == [("fear/a_1.mkv", "fear/a_1.wav")]
    assert reasons == {"fear/a_1.mp4": "the same performance as fear/a_1.mkv"}


@pytest.mark.parametrize("there", [True, False])
def test_a_root_that_is_not_there_or_holds_nothing_is_named(tmp_path: Path, there: bool) -> None:
    root = tmp_path / "films"
    if there:
        root.mkdir()
    words = (
        "holds no clip that 'folder' knows.*the folder is empty"
        if there
        else "no folder '.*films'; say where the corpus lies"
    )
    with pytest.raises(CorpusError, match=rf"^corpora\.mine\.root: .*{words}"):
        found(root, "folder")


def test_a_root_without_any_clip_tells_the_first_reason(media: Path, tmp_path: Path) -> None:
    place(media, tmp_path, {"b.mp4": "one.mp4", "a.mp4": "one.mp4"})
    words = r"knows; .*found 2 media files that are none: a\.mp4 \(lies in no emotion's folder\), b"
    with pytest.raises(CorpusError, match=words):
        found(tmp_path, "folder")


def test_an_unknown_adapter_is_refused_with_the_valid_ones() -> None:
    words = r"corpora\.mine\.adapter = 'foldr': .*did you mean 'folder'\? valid: crema_d, csv, .*, or package"
    with pytest.raises(ParameterError, match=words):
        check({"mine": {"adapter": "foldr", "root": "."}}, dict[str, CorpusConfig], where="corpora")


def test_an_adapter_of_ones_own_labels_the_clips(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(media, tmp_path, {"films/7.mp4": "one.mp4"})
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/own_adapter.py").write_text(
        "from data_manifest.corpora.findings import Candidate, Findings\n"
        "def find(root, options):\n"
        "    return Findings([Candidate('7.mp4', options['always'], 's7')], {'x.mp4': 'because'})\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    clips, reasons = found(Path("films"), "own_adapter:find", always="fear")
    assert (clips["7.mp4"].emotion, clips["7.mp4"].speaker, reasons) == ("fear", "mine/s7", {"x.mp4": "because"})


@pytest.mark.parametrize("suffix", sorted(MEDIA_SUFFIXES))
def test_a_file_of_every_kind_is_a_clip_or_left_out(tmp_path: Path, suffix: str) -> None:
    for name in ("clip" + suffix, "CLIP" + suffix.upper(), "notes.txt"):
        (tmp_path / name).touch()
    assert media_files(tmp_path) == ["CLIP" + suffix.upper(), "clip" + suffix]


def test_clip_ids_tell_folders_apart_and_keep_dots_in_names() -> None:
    ids = [Candidate(path, "fear", "s1").clip_id("c") for path in ("s1/a/1.mp4", "s1/b/1.mp4", "s1/1.v2.mp4")]
    assert ids == ["c/s1/a.1", "c/s1/b.1", "c/s1/1.v2"]
    parts = [Candidate("1.mp4", "fear", "s1", split=part).clip_id("c") for part in ("train", "test")]
    assert parts == ["c/train/s1/1", "c/test/s1/1"]


def test_a_second_run_decodes_nothing(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(media, tmp_path, {"fear/a_1.mp4": "one.mp4", "fear/a_2.mp4": "two.mp4"})
    first = found(tmp_path, "folder")

    def never(path: str) -> None:
        raise AssertionError(f"{path} was opened again")

    monkeypatch.setattr("av.open", never)
    assert found(tmp_path, "folder") == first


def test_what_lies_in_the_files_is_probed_and_written_down(tmp_path: Path) -> None:
    wide = np.zeros((12, 48, 64, 3), np.uint8)
    write_media(tmp_path / "fear/a_1.mp4", frames=wide, sound=np.tile(SOUND, 3), fps=30, rate_hz=48000, layout="5.1")
    write_media(tmp_path / "fear/a_2.wav", sound=SOUND, rate_hz=8000, layout="stereo")
    probed = probe_corpus("mine", CorpusConfig(adapter="folder", root=str(tmp_path)), RUN)
    write_media_table(tmp_path / "media.csv", probed.media)
    with (tmp_path / "media.csv").open() as file:
        film, sound = csv.DictReader(file)
    expected = {"path": "fear/a_1.mp4", "frames": "12", "width_px": "64", "height_px": "48", "rate_hz": "48000"}
    assert expected.items() <= film.items()
    assert float(film["fps"]) == pytest.approx(30, rel=1e-3)
    assert film["channels"] == "6"
    assert (sound["frames"], sound["samples"], sound["rate_hz"], sound["channels"]) == ("0", "6400", "8000", "2")
    assert float(sound["duration_s"]) == pytest.approx(0.8)


def test_several_corpora_make_one_manifest(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(media, tmp_path, {"one/fear/a_1.mp4": "one.mp4", "two/anger/a_1.mp4": "two.mp4", "two/b.mp4": "one.mp4"})
    monkeypatch.chdir(tmp_path)
    entries = {name: {"adapter": "folder", "root": name} for name in ("one", "two")}
    Path("params.yaml").write_text(
        json.dumps({"corpora": entries, "manifest": {}, "run": {"scheduler": "synchronous"}})
    )
    for name in entries:
        monkeypatch.setattr(sys, "argv", ["corpus", name])
        stages.corpus.main()
    stages.manifest.main()
    clips = read_rows(Path("data/manifest.csv"), Clip)
    assert [(clip.clip_id, clip.speaker) for clip in clips] == [
        ("one/a/fear.a_1", "one/a"),
        ("two/a/anger.a_1", "two/a"),
    ]
    left_out = read_rows(Path("data/exclusions.csv"), Exclusion)
    assert [(row.clip_id, row.stage) for row in left_out] == [("two/b.mp4", "corpus")]
