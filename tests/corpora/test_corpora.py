"""Corpora on disk: every media file becomes a clip or an exclusion with a reason; user errors are reported."""

import csv
import errno
import hashlib
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_media

import stages.corpus
import stages.manifest
from data_manifest.corpora import csv_table
from data_manifest.corpora.adapters import CorpusConfig, scan
from data_manifest.corpora.contract import MEDIA_SUFFIXES, Candidate, media_files
from data_manifest.corpora.probing import probe_corpus, unreadable_reason, write_media_table
from data_manifest.manifest.clips import Clip, Exclusion, read_rows, write_rows
from data_manifest.manifest.paths import LINK_REFUSED
from pipeline.base.errors import CorpusError, ParameterError, PipelineError, WeightsError
from pipeline.base.params import check
from pipeline.memo.extraction import ClipJob
from pipeline.parallel.pool import ExecutionConfig

RUN = ExecutionConfig(scheduler="synchronous", max_failures=1)
FRAMES = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None, None] * 20, (10, 32, 32, 3)).copy()
SOUND = np.sin(np.arange(6400) * 0.1).astype(np.float32)  # 0.4 s at 16 kHz, as long as 10 frames at 25 fps


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one.mp4 and two.mp4 (different), silent.mp4, sound.wav, and files that no decoder can read."""
    folder = tmp_path_factory.mktemp("media")
    write_media(folder / "one.mp4", frames=FRAMES, sound=SOUND)
    write_media(folder / "two.mp4", frames=FRAMES[:5], sound=SOUND)
    write_media(folder / "silent.mp4", frames=FRAMES)
    write_media(folder / "sound.wav", sound=SOUND)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is not a video\n" * 100)
    content = (folder / "one.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 2])
    return folder


def copy_media(media: Path, root: Path, files: dict[str, str]) -> None:
    for target, source in files.items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(media / source, root / target)


def write_table(root: Path, *rows: dict[str, str], name: str = "clips.csv") -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (root / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def probe(
    root: Path, adapter: str, *, follow_links: bool = False, **options: Any
) -> tuple[dict[str, Clip], dict[str, str]]:
    """Return the clips, and the reasons for all exclusions, by path."""
    config = CorpusConfig(adapter=adapter, root=str(root), follow_links=follow_links, options=options)
    corpus = probe_corpus("mine", config, RUN)
    assert {it.stage for it in corpus.exclusions} <= {"corpus"}
    assert all(it.clip_id.startswith("mine/") for it in corpus.exclusions)
    return {clip.path: clip for clip in corpus.clips}, {it.path: it.reason for it in corpus.exclusions}


def test_every_file_of_a_folder_is_a_clip_or_left_out_with_a_reason(media: Path, tmp_path: Path) -> None:
    good = {"Anger/anna_1.mp4": "one.mp4", "fear/anna_2.MP4": "two.mp4"}
    bad = {f"fear/bob_{name}.mp4": f"{name}.mp4" for name in ("empty", "text", "cut")}
    unlabelled = {"carl_1.mp4": "one.mp4", "fear/unnamed.mp4": "one.mp4", "fear/_1.mp4": "one.mp4"}
    copy_media(
        media, tmp_path, good | bad | unlabelled | {"fear/notes.txt": "text.mp4", "fear/._anna_3.mp4": "text.mp4"}
    )
    clips, reasons = probe(tmp_path, "folder")
    assert {path: (clip.emotion, clip.speaker) for path, clip in clips.items()} == {
        "Anger/anna_1.mp4": ("anger", "mine/anna"),
        "fear/anna_2.MP4": ("fear", "mine/anna"),
    }
    assert reasons.keys() == (bad | unlabelled).keys()
    assert reasons["fear/bob_empty.mp4"] == "zero bytes"
    assert all(reasons[f"fear/bob_{name}.mp4"].startswith("cannot be decoded: ") for name in ("text", "cut"))
    assert reasons["carl_1.mp4"] == "not in an emotion's folder"
    assert reasons["fear/unnamed.mp4"] == reasons["fear/_1.mp4"] == "its name does not start with a speaker and _"


def test_clip_without_audio_or_video_is_kept_with_its_modality(media: Path, tmp_path: Path) -> None:
    sources = {"fear/a_1.mp4": "one.mp4", "fear/a_2.mp4": "silent.mp4", "fear/a_3.wav": "sound.wav"}
    copy_media(media, tmp_path, sources)
    clips, reasons = probe(tmp_path, "folder")
    assert [clips[path].modalities for path in sources] == ["visual+acoustic", "visual", "acoustic"]
    assert clips["fear/a_3.wav"].duration_s == pytest.approx(0.4, abs=1e-6)
    assert reasons == {}


def test_listed_clip_has_the_exact_values_of_its_row(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"dev/anna/take 1.mp4": "one.mp4"})
    row = {"path": "dev/anna/take 1.mp4", "emotion": "fear", "speaker": "anna", "split": "dev", "sentence": "Ça, va"}
    write_table(tmp_path, row)
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
    assert 0.4 <= clip.duration_s <= 0.4 + 2 * 0.064  # AAC adds priming and padding, each up to a frame of 64 ms


def test_separate_audio_file_belongs_to_the_clip(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.mp4": "silent.mp4", "a.wav": "sound.wav", "b.mp4": "two.mp4", "c.mp4": "one.mp4"})
    shared = {"emotion": "fear", "speaker": "s"}
    write_table(
        tmp_path,
        {"path": "a.mp4", "audio_path": "a.wav", **shared},
        {"path": "b.mp4", "audio_path": "b.wav", **shared},
        {"path": "c.mp4", "audio_path": "", **shared},
    )
    clips, reasons = probe(tmp_path, "csv")
    assert (clips["a.mp4"].modalities, clips["a.mp4"].audio_source, clips["c.mp4"].audio_source) == (
        "visual+acoustic",
        "a.wav",
        "c.mp4",
    )
    checksums = [hashlib.sha256((media / name).read_bytes()).hexdigest() for name in ("silent.mp4", "sound.wav")]
    assert clips["a.mp4"].sha256 == hashlib.sha256("".join(checksums).encode()).hexdigest()
    assert clips["b.mp4"].audio_source == "b.mp4"  # b.wav is missing
    assert reasons == {"b.wav": "listed in clips.csv, but missing"}


def test_clips_that_share_a_file_but_not_a_speaker_are_left_out(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.mp4": "silent.mp4", "a.wav": "sound.wav", "b.mp4": "one.mp4", "c.mp4": "two.mp4"})
    rows = [("a.mp4", "s2", "a.wav"), ("b.mp4", "s1", "a.wav"), ("c.mp4", "s1", "")]
    write_table(tmp_path, *({"path": p, "emotion": "fear", "speaker": s, "audio_path": a} for p, s, a in rows))
    clips, reasons = probe(tmp_path, "csv")
    assert list(clips) == ["c.mp4"]
    assert set(reasons.values()) == {
        "the same bytes as mine/s1/b, which has another label or speaker",
        "the same bytes as mine/s2/a, which has another label or speaker",
    }


def test_values_are_stripped_and_paths_normalised(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.mp4": "one.mp4", "sub/b.mp4": "two.mp4"})
    rows = [("a.mp4 ", " hi "), (str(tmp_path / "sub" / ".." / "sub" / "b.mp4"), "hi")]
    write_table(tmp_path, *({"path": p, "emotion": " Fear", "speaker": "s ", "sentence": text} for p, text in rows))
    clips, reasons = probe(tmp_path, "csv")
    assert {path: (it.sentence, it.speaker, it.emotion) for path, it in clips.items()} == {
        "a.mp4": ("hi", "mine/s", "fear"),
        "sub/b.mp4": ("hi", "mine/s", "fear"),
    }
    assert not reasons
    write_table(tmp_path, {"path": "../elsewhere.mp4", "emotion": "fear", "speaker": "s"})
    with pytest.raises(CorpusError, match=r"line 2: \.\./elsewhere\.mp4 is not below"):
        probe(tmp_path, "csv")


def test_every_file_of_an_unlabelled_row_is_left_out(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.mp4": "silent.mp4", "a.wav": "sound.wav", "b.mp4": "two.mp4"})
    rows = [("a.mp4", "", "a.wav"), ("b.mp4", "fear", "")]
    write_table(tmp_path, *({"path": p, "emotion": e, "speaker": "s", "audio_path": a} for p, e, a in rows))
    _, reasons = probe(tmp_path, "csv")
    assert reasons == dict.fromkeys(("a.mp4", "a.wav"), "has no emotion in clips.csv")


def test_unreadable_table_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text('path,emotion,speaker\n"' + "x" * 200_000)
    with pytest.raises(CorpusError, match=r"clips\.csv is not a readable CSV file"):
        probe(tmp_path, "csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CorpusError, match="folder cannot be read: not a regular file"):
        csv_table.find(tmp_path, {"table": "folder"})
    with pytest.raises(CorpusError, match=r"other\.csv not found; set options\.table .*: clips\.csv, folder"):
        csv_table.find(tmp_path, {"table": "other.csv"})


def test_missing_and_unlisted_files_are_left_out(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.mp4": "one.mp4", "extra/b.mp4": "two.mp4", "bad.mp4": "empty.mp4"})
    write_table(
        tmp_path, *({"path": path, "emotion": "fear", "speaker": "s"} for path in ("a.mp4", "gone.mp4", "bad.mp4"))
    )
    clips, reasons = probe(tmp_path, "csv")
    assert list(clips) == ["a.mp4"]
    assert reasons == {
        "bad.mp4": "zero bytes",
        "gone.mp4": "listed in clips.csv, but missing",
        "extra/b.mp4": "not listed in clips.csv",
    }


@pytest.mark.parametrize("column", ["emotion", "speaker", "path"])
@pytest.mark.parametrize("kind", ["empty", "absent"])
def test_incomplete_row_is_left_out_with_the_missing_column(
    media: Path, tmp_path: Path, column: str, kind: str
) -> None:
    copy_media(media, tmp_path, {"a.mp4": "one.mp4", "b.mp4": "two.mp4"})
    columns = ["path", "emotion", "speaker"]
    columns = [name for name in columns if name != column] + [column]
    good, bad = ({"path": path, "emotion": "fear", "speaker": "s"} for path in ("a.mp4", "b.mp4"))
    bad[column] = ""
    lines = [",".join(row[name] for name in columns) for row in (good, bad)]
    lines[1] = lines[1].rstrip(",") if kind == "absent" else lines[1]
    (tmp_path / "clips.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
    clips, reasons = probe(tmp_path, "csv")
    assert list(clips) == ["a.mp4"]
    expected = {"b.mp4": f"has no {column} in clips.csv"}
    if column == "path":
        expected = {"clips.csv, line 3": "has no path in clips.csv", "b.mp4": "not listed in clips.csv"}
    assert reasons == expected


def test_row_with_too_many_values_is_reported(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.mp4": "one.mp4"})
    (tmp_path / "clips.csv").write_text("path,emotion,speaker\na.mp4,fear,s,surplus\n")
    with pytest.raises(CorpusError, match=r"clips\.csv.*line 2"):
        probe(tmp_path, "csv")


@pytest.mark.parametrize("header", ["path,emotion", "path,emotion,speaker,sex", "", "path;emotion;speaker"])
def test_wrong_columns_are_reported_with_the_required_ones(tmp_path: Path, header: str) -> None:
    (tmp_path / "labels.csv").write_text(f"{header}\n")
    message = r"labels\.csv has the columns .*needs \['emotion', 'path', 'speaker'\].*'audio_path', 'sentence', 'split'"
    with pytest.raises(CorpusError, match=message):
        probe(tmp_path, "csv", table="labels.csv")


def test_missing_table_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"labels\.csv not found"):
        probe(tmp_path, "csv", table="labels.csv")


@pytest.mark.parametrize(("adapter", "hint"), [("csv", "did you mean 'table'?"), ("folder", "unknown key")])
def test_unknown_option_of_an_adapter_is_refused(tmp_path: Path, adapter: str, hint: str) -> None:
    with pytest.raises(ParameterError) as error:
        probe(tmp_path, adapter, tabel="labels.csv")
    assert "options.tabel: unknown key" in str(error.value)
    assert hint in str(error.value)


def test_table_with_byte_order_mark_is_read(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"ä.mp4": "one.mp4"})
    (tmp_path / "clips.csv").write_text("path,emotion,speaker\r\nä.mp4,fear,s\r\n", encoding="utf-8-sig")
    clips, reasons = probe(tmp_path, "csv")
    assert ([clip.clip_id for clip in clips.values()], reasons) == (["mine/s/ä"], {})


def test_relative_paths_with_dots_are_accepted(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.mp4": "silent.mp4", "a.wav": "sound.wav"})
    write_table(tmp_path, {"path": "./a.mp4", "audio_path": ".//a.wav", "emotion": "fear", "speaker": "s"})
    clips, reasons = probe(tmp_path, "csv")
    assert ([(clip.path, clip.audio_path) for clip in clips.values()], reasons) == ([("a.mp4", "a.wav")], {})


def test_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes("path,emotion,speaker\nä.mp4,fear,s\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"clips\.csv is not in UTF-8"):
        probe(tmp_path, "csv")


def test_silent_video_listed_as_audio_is_left_out_but_its_clip_is_kept(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.wav": "sound.wav", "a.mp4": "silent.mp4", "b.mp4": "one.mp4"})
    swapped = {"path": "a.wav", "audio_path": "a.mp4", "emotion": "fear", "speaker": "s"}
    write_table(tmp_path, swapped, {"path": "b.mp4", "emotion": "fear", "speaker": "s"})
    clips, reasons = probe(tmp_path, "csv")
    assert {path: (clip.modalities, clip.audio_path) for path, clip in clips.items()} == {
        "a.wav": ("acoustic", ""),
        "b.mp4": ("visual+acoustic", ""),
    }
    assert reasons == {"a.mp4": "contains no audio"}


def test_links_that_lead_out_of_the_root_are_refused_unless_allowed(media: Path, tmp_path: Path) -> None:
    outside = {"joy/a_1.mp4": "one.mp4", "deep/a_2.mp4": "silent.mp4", "a_3.wav": "sound.wav"}
    copy_media(media, tmp_path, outside | {"corpus/fear/b_1.mp4": "two.mp4"})
    corpus = tmp_path / "corpus"
    (corpus / "joy").symlink_to(tmp_path / "joy")
    (corpus / "fear/deep").symlink_to("../../deep")
    (corpus / "fear/a_3.wav").symlink_to(tmp_path / "a_3.wav")
    (tmp_path / "link").symlink_to(corpus)  # the root itself may be a link
    clips, reasons = probe(tmp_path / "link", "folder")
    assert sorted(clips) == ["fear/b_1.mp4"]
    assert reasons == dict.fromkeys(("joy", "fear/deep", "fear/a_3.wav"), LINK_REFUSED)
    clips, reasons = probe(tmp_path / "link", "folder", follow_links=True)
    assert sorted(clips) == ["fear/a_3.wav", "fear/b_1.mp4", "fear/deep/a_2.mp4", "joy/a_1.mp4"]
    assert reasons == {}


def test_link_to_the_whole_disk_is_not_searched(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"fear/b_1.mp4": "two.mp4"})
    (tmp_path / "disk").symlink_to("/")
    assert media_files(tmp_path) == ["fear/b_1.mp4"]


def test_listed_files_behind_links_are_refused(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"else/a.mp4": "one.mp4", "else/a.wav": "sound.wav", "corpus/b.mp4": "silent.mp4"})
    corpus = tmp_path / "corpus"
    (corpus / "away").symlink_to(tmp_path / "else")
    rows = [("away/a.mp4", ""), ("b.mp4", "away/a.wav")]
    write_table(corpus, *({"path": p, "audio_path": a, "emotion": "fear", "speaker": "s"} for p, a in rows))
    clips, reasons = probe(corpus, "csv")
    assert {path: clip.modalities for path, clip in clips.items()} == {"b.mp4": "visual"}
    assert reasons == dict.fromkeys(("away", "away/a.mp4", "away/a.wav"), LINK_REFUSED)
    clips, reasons = probe(corpus, "csv", follow_links=True)
    assert (sorted(clips), reasons) == (["away/a.mp4", "b.mp4"], {})


@pytest.mark.parametrize(("adapter", "table"), [("csv", "clips.csv"), ("meld", "train_sent_emo.csv")])
def test_table_behind_a_link_is_refused_unless_allowed(tmp_path: Path, adapter: str, table: str) -> None:
    (tmp_path / "table.csv").write_text("path,emotion,speaker\n")
    (tmp_path / "corpus/train_splits").mkdir(parents=True)
    (tmp_path / "corpus/train_splits/dia0_utt0.mp4").touch()
    (tmp_path / "corpus" / table).symlink_to(tmp_path / "table.csv")
    with pytest.raises(CorpusError, match=rf"{table} is a link that leads out of the corpus's root"):
        probe(tmp_path / "corpus", adapter)
    with pytest.raises(CorpusError, match=r"contains no clip|lacks the columns"):
        probe(tmp_path / "corpus", adapter, follow_links=True)


def test_only_regular_files_are_opened(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"fear/a_1.mp4": "one.mp4"})
    os.mkfifo(tmp_path / "fear/a_2.wav")
    for number, device in enumerate(("/dev/zero", "/dev/random"), start=3):
        (tmp_path / f"fear/a_{number}.wav").symlink_to(device)
    (tmp_path / "fear/a_5.wav").symlink_to("a_5.wav")
    (tmp_path / "fear/a_6.wav").mkdir()
    odd = {f"fear/a_{number}.wav": "not a regular file" for number in (2, 3, 4)}
    loop = {"fear/a_5.wav": "cannot be read: Too many levels of symbolic links"}
    clips, reasons = probe(tmp_path, "folder", follow_links=True)
    assert (list(clips), reasons) == (["fear/a_1.mp4"], odd | loop)
    listed = ["fear/a_1.mp4", *odd, *loop, "fear/a_6.wav"]
    write_table(tmp_path, *({"path": path, "emotion": "fear", "speaker": "s"} for path in listed))
    clips, reasons = probe(tmp_path, "csv", follow_links=True)
    assert (list(clips), reasons) == (["fear/a_1.mp4"], odd | loop | {"fear/a_6.wav": "not a regular file"})


@pytest.mark.parametrize(("adapter", "table"), [("csv", "clips.csv"), ("meld", "train_sent_emo.csv")])
def test_table_that_is_a_pipe_is_refused(tmp_path: Path, adapter: str, table: str) -> None:
    (tmp_path / "train_splits").mkdir()
    (tmp_path / "train_splits/dia0_utt0.mp4").touch()
    os.mkfifo(tmp_path / table)
    with pytest.raises(CorpusError, match=rf"{table} cannot be read: not a regular file; "):
        probe(tmp_path, adapter)


ODD_NAMES = [
    *("clip [1].mp4", "take1:angry.mp4", "http:/host/a.mp4", "..x/a.mp4", "...mp4", "a*?.mp4", "=1+1.mp4", "-a.mp4"),
    *("'a.mp4", "a\nb.mp4", "a\rb.mp4", "a\x1b[31m.mp4", 'a,"b.mp4', "\u202ea.mp4", "a\u2028.mp4", "a" * 251 + ".mp4"),
]


def test_file_of_any_name_is_a_clip_and_survives_the_manifest(media: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    (corpus / "http:/host").mkdir(parents=True)
    (corpus / "..x").mkdir()
    content = (media / "sound.wav").read_bytes()
    for number, name in enumerate(ODD_NAMES):
        (corpus / name).write_bytes(content + bytes(number))  # other bytes, the same samples
    write_table(corpus, *({"path": name, "emotion": "fear", "speaker": "s"} for name in ODD_NAMES))
    clips, reasons = probe(corpus, "csv")
    assert (sorted(clips), reasons) == (sorted(ODD_NAMES), {})
    write_rows(tmp_path / "clips.csv", clips.values(), Clip)
    assert {clip.path: clip for clip in read_rows(tmp_path / "clips.csv", Clip)} == clips
    jobs = [ClipJob(path, clip.sha256, partial(Path, corpus, path)) for path, clip in clips.items()]
    assert len({job.load() for job in jobs}) == len(ODD_NAMES)


def test_links_to_folders_are_followed_without_cycles(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"fear/a_1.mp4": "one.mp4", "anger/b_1.mp4": "two.mp4"})
    (tmp_path / "joy").symlink_to(tmp_path / "fear")
    (tmp_path / "anger/again").symlink_to(tmp_path)
    assert media_files(tmp_path) == ["anger/b_1.mp4", "fear/a_1.mp4", "joy/a_1.mp4"]


def test_folders_that_link_to_each_other_are_each_followed_once(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"anger/a_1.mp4": "one.mp4", "fear/b_1.mp4": "two.mp4"})
    (tmp_path / "anger" / "other").symlink_to(tmp_path / "fear")
    (tmp_path / "fear" / "other").symlink_to(tmp_path / "anger")
    assert media_files(tmp_path) == ["anger/a_1.mp4", "anger/other/b_1.mp4", "fear/b_1.mp4", "fear/other/a_1.mp4"]


def test_broken_link_is_left_out(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"fear/a_1.mp4": "one.mp4"})
    (tmp_path / "fear" / "a_2.mp4").symlink_to("../.git/annex/nothing")
    clips, reasons = probe(tmp_path, "folder")
    assert (list(clips), reasons) == (["fear/a_1.mp4"], {"fear/a_2.mp4": "a broken link"})


def test_file_name_that_is_not_utf8_is_left_out(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {os.fsdecode(b"fear/a_\xe9.mp4"): "one.mp4", "fear/a_1.mp4": "two.mp4"})
    clips, reasons = probe(tmp_path, "folder")
    assert (list(clips), reasons) == (["fear/a_1.mp4"], {"fear/a_\\udce9.mp4": "its name is not UTF-8; rename it"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,emotion,speaker\na.wav,fear,s\n../x.wav,fear,s\n", "line 3: ../x.wav is not below"),
        ("path,emotion,speaker\n/etc/x.wav,fear,s\n", "line 2: /etc/x.wav is not below"),
        ("path,emotion,speaker\na\0.wav,fear,s\n", "line 2: a NUL character"),
        ("path,emotion,speaker,path\n", "has two columns 'path'"),
    ],
)
def test_error_in_a_table_names_its_line(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "clips.csv").write_text(content)
    with pytest.raises(CorpusError) as error:
        probe(tmp_path, "csv")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_listed_name_that_is_too_long_is_left_out(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.mp4": "one.mp4"})
    name = "x" * 300 + ".mp4"
    write_table(tmp_path, *({"path": path, "emotion": "fear", "speaker": "s"} for path in ("a.mp4", name)))
    assert probe(tmp_path, "csv")[1] == {name: "listed in clips.csv, but missing"}


@pytest.mark.parametrize("table", ["x" * 300, "a\0b", "../" * 2000])
def test_odd_name_of_a_table_is_one_line(tmp_path: Path, table: str) -> None:
    with pytest.raises(CorpusError, match=r"not found; set options\.table"):
        probe(tmp_path, "csv", table=table)


def test_folder_without_read_permission_is_an_error(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_media(media, tmp_path, {"fear/a_1.mp4": "one.mp4", "secret/a_2.mp4": "two.mp4"})
    scandir = os.scandir

    def refuse_secret(path: str) -> Any:
        if Path(path).name == "secret":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_secret)  # permissions would not stop root
    with pytest.raises(CorpusError, match=r"secret cannot be read: Permission denied$"):
        probe(tmp_path, "folder")


def test_too_many_broken_files_stop_the_run(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"fear/a_1.mp4": "one.mp4", "fear/a_2.mp4": "text.mp4"})
    config = CorpusConfig(adapter="folder", root=str(tmp_path))
    with pytest.raises(PipelineError, match=r"1 of 2 clips failed, more than run\.max_failures = 40%.*fear/a_2\.mp4"):
        probe_corpus("mine", config, ExecutionConfig(scheduler="synchronous", max_failures=0.4))


def test_duplicate_clip_id_is_an_error_with_both_paths(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"a.mp4": "one.mp4", "a.wav": "sound.wav"})
    write_table(tmp_path, *({"path": path, "emotion": "fear", "speaker": "s"} for path in ("a.mp4", "a.wav")))
    with pytest.raises(
        CorpusError, match=r"corpora\.mine: two clips have the id 'mine/s/a': a\.mp4 and a\.wav; rename one file$"
    ):
        probe(tmp_path, "csv")


def test_video_and_audio_of_one_name_are_one_clip(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"fear/a_1.mp4": "silent.mp4", "fear/a_1.wav": "sound.wav", "fear/a_1.mkv": "one.mp4"})
    clips, reasons = probe(tmp_path, "folder")
    assert [(clip.path, clip.audio_path) for clip in clips.values()] == [("fear/a_1.mkv", "fear/a_1.wav")]
    assert reasons == {"fear/a_1.mp4": "the same performance as fear/a_1.mkv"}


@pytest.mark.parametrize("exists", [True, False])
def test_missing_or_empty_root_is_reported(tmp_path: Path, exists: bool) -> None:
    root = tmp_path / "films"
    if exists:
        root.mkdir()
    message = (
        "contains no clip of 'folder'.*the folder is empty"
        if exists
        else "no folder '.*films'; set it to the folder of the corpus"
    )
    with pytest.raises(CorpusError, match=rf"^corpora\.mine\.root: .*{message}"):
        probe(root, "folder")


def test_root_without_clips_is_reported_with_reasons(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"b.mp4": "one.mp4", "a.mp4": "one.mp4"})
    message = r"of 'folder'; .*left out 2 media files: a\.mp4 \(not in an emotion's folder\), b"
    with pytest.raises(CorpusError, match=message):
        probe(tmp_path, "folder")


def test_unknown_adapter_is_refused_with_the_valid_names() -> None:
    message = r"corpora\.mine\.adapter = 'foldr': .*did you mean 'folder'\? valid: crema_d, csv, .*, or package"
    with pytest.raises(ParameterError, match=message):
        check({"mine": {"adapter": "foldr", "root": "."}}, dict[str, CorpusConfig], where="corpora")


def test_custom_adapter_labels_the_clips(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_media(media, tmp_path, {"films/7.mp4": "one.mp4"})
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/own_adapter.py").write_text(
        "from data_manifest.corpora.contract import Candidate, Findings\n"
        "def find(root, options):\n"
        "    return Findings([Candidate('7.mp4', options['always'], 's7')], {'x.mp4': 'because'})\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    clips, reasons = probe(Path("films"), "own_adapter:find", always="fear")
    assert (clips["7.mp4"].emotion, clips["7.mp4"].speaker, reasons) == ("fear", "mine/s7", {"x.mp4": "because"})


@pytest.mark.parametrize("suffix", sorted(MEDIA_SUFFIXES))
def test_media_files_lists_every_media_suffix(tmp_path: Path, suffix: str) -> None:
    for name in ("clip" + suffix, "CLIP" + suffix.upper(), "notes.txt"):
        (tmp_path / name).touch()
    assert media_files(tmp_path) == ["CLIP" + suffix.upper(), "clip" + suffix]


def test_clip_ids_include_folders_and_dots_in_names() -> None:
    ids = [Candidate(path, "fear", "s1").clip_id("c") for path in ("s1/a/1.mp4", "s1/b/1.mp4", "s1/1.v2.mp4")]
    assert ids == ["c/s1/a.1", "c/s1/b.1", "c/s1/1.v2"]
    parts = [Candidate("1.mp4", "fear", "s1", split=part).clip_id("c") for part in ("train", "test")]
    assert parts == ["c/train/s1/1", "c/test/s1/1"]


def test_second_run_decodes_nothing(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_media(media, tmp_path, {"fear/a_1.mp4": "one.mp4", "fear/a_2.mp4": "two.mp4"})
    first = probe(tmp_path, "folder")

    def fail(path: str) -> None:
        raise AssertionError(f"{path} was opened again")

    monkeypatch.setattr("av.open", fail)
    assert probe(tmp_path, "folder") == first


def test_a_file_beyond_the_limits_of_the_run_is_left_out(media: Path, tmp_path: Path) -> None:
    copy_media(media, tmp_path, {"fear/a_1.mp4": "one.mp4", "fear/a_2.mp4": "two.mp4"})
    run = ExecutionConfig(scheduler="synchronous", max_failures=1, max_pixels=256)
    corpus = probe_corpus("mine", CorpusConfig(adapter="folder", root=str(tmp_path)), run)
    assert {it.reason.partition(" is larger than ")[2] for it in corpus.exclusions} == {"run.max_pixels = 256 allows"}
    assert not corpus.clips


def test_media_properties_are_probed_and_written(tmp_path: Path) -> None:
    wide = np.zeros((12, 48, 64, 3), np.uint8)
    write_media(tmp_path / "fear/a_1.mp4", frames=wide, sound=np.tile(SOUND, 3), fps=30, rate_hz=48000, layout="5.1")
    write_media(tmp_path / "fear/a_2.wav", sound=SOUND, rate_hz=8000, layout="stereo")
    corpus = probe_corpus("mine", CorpusConfig(adapter="folder", root=str(tmp_path)), RUN)
    write_media_table(tmp_path / "media.csv", corpus.media)
    with (tmp_path / "media.csv").open() as file:
        video, audio = csv.DictReader(file)
    expected = {"path": "fear/a_1.mp4", "frames": "12", "width_px": "64", "height_px": "48", "rate_hz": "48000"}
    assert expected.items() <= video.items()
    assert float(video["fps"]) == pytest.approx(30, rel=1e-3)
    assert video["channels"] == "6"
    assert (audio["frames"], audio["samples"], audio["rate_hz"], audio["channels"]) == ("0", "6400", "8000", "2")
    assert float(audio["duration_s"]) == pytest.approx(0.8)


def test_several_corpora_make_one_manifest(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_media(media, tmp_path, {"one/fear/a_1.mp4": "one.mp4", "two/anger/a_1.mp4": "two.mp4", "two/b.mp4": "one.mp4"})
    monkeypatch.chdir(tmp_path)
    entries = {name: {"adapter": "folder", "root": name} for name in ("one", "two")}

    def write_sections(**changes: dict[str, str]) -> None:
        empty: dict[str, dict[str, str]] = {"manifest": {}, "faces": {}, "spectrograms": {}, "ablations": {}}
        embeddings = {name: {"weights": "random"} for name in ("embed_faces", "embed_mels")}
        sections = empty | embeddings | {"run": {"scheduler": "synchronous"}} | changes
        Path("params.yaml").write_text(json.dumps({"corpora": entries} | sections))

    write_sections()
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
    write_sections(embed_faces={"weights": "no.pth"})
    with pytest.raises(WeightsError, match=r"^embed_faces\.weights: no\.pth does not exist; give a state dict"):
        stages.manifest.main()  # before any extraction


def test_a_file_that_is_too_large_to_be_a_clip_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.wav").open("wb") as file:
        file.truncate(17 << 30)  # it takes no space
    assert unreadable_reason(tmp_path / "a.wav") == "larger than 16 GiB"


def test_names_that_may_stand_for_one_speaker_are_noted_and_merged(media: Path, tmp_path: Path) -> None:
    speakers = ["Anna", "anna", "AN-NA", "s3", "s03", "s30", "S_03", "11", "101", "1-1"]
    copy_media(media, tmp_path, {f"fear/{speaker}_{n}.mp4": "one.mp4" for n, speaker in enumerate(speakers)})
    write_table(
        tmp_path,
        *(
            {"path": f"fear/{speaker}_{n}.mp4", "emotion": "fear", "speaker": speaker}
            for n, speaker in enumerate(speakers)
        ),
    )
    config = CorpusConfig(adapter="csv", root=str(tmp_path))
    assert scan("mine", config).notes == [
        "mine: the speakers AN-NA, Anna, anna may be one person; if they are: "
        "corpora.mine.speakers: {Anna: AN-NA, anna: AN-NA}",
        "mine: the speakers S_03, s03, s3 may be one person; if they are: corpora.mine.speakers: {s03: S_03, s3: S_03}",
    ]
    renamed = {"Anna": "anna", "AN-NA": "anna", "s03": "s3", "S_03": "s3"}
    merged = scan("mine", config.model_copy(update={"speakers": renamed}))
    assert merged.notes == []
    assert {it.speaker for it in merged.candidates} == {"anna", "s3", "s30", "11", "101", "1-1"}
    with pytest.raises(CorpusError, match=r"corpora\.mine\.speakers: no clip is of 'Ana'; did you mean 'Anna'\?"):
        scan("mine", config.model_copy(update={"speakers": {"Ana": "anna"}}))
