"""Each corpus in miniature, with its pitfalls: the exact clips, and a reason for every other file."""

import csv
import shutil
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHARED, make_clip, write_short_media

from data_manifest.corpora.adapters import CORPORA, CorpusConfig, scan
from data_manifest.corpora.checks import check_findings
from data_manifest.corpora.contract import Findings
from data_manifest.corpora.probing import probe_corpus
from data_manifest.manifest.clips import Clip, ManifestConfig, build_manifest
from pipeline.base.errors import CorpusError, ParameterError
from pipeline.evaluation.scores import score
from pipeline.faces.crops import FacesConfig, extract_faces
from pipeline.parallel.pool import ExecutionConfig

RUN = ExecutionConfig(scheduler="synchronous", max_failures=1)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0\n"


def probe(root: Path, adapter: str, **options: Any) -> tuple[dict[str, Clip], dict[str, str], list[str]]:
    """Return clips by id, reasons by path, and notes."""
    check_findings(scan_root(root, adapter, **options), root, name=adapter)
    corpus = probe_corpus(adapter, CorpusConfig(adapter=adapter, root=str(root), options=options), RUN)
    for clip in corpus.clips:
        assert 0.15 < clip.duration_s < 5
        checksums = [sha256((root / path).read_bytes()).hexdigest() for path in (clip.path, clip.audio_path) if path]
        assert clip.sha256 == (checksums[0] if len(checksums) == 1 else sha256("".join(checksums).encode()).hexdigest())
    ids = [clip.clip_id for clip in corpus.clips]
    assert not set(ids) & {row.clip_id for row in corpus.exclusions}
    assert len(ids) == len(set(ids))
    reasons = {row.path: row.reason for row in corpus.exclusions}
    return {clip.clip_id: clip for clip in corpus.clips}, reasons, corpus.notes


def scan_root(root: Path, adapter: str, **options: Any) -> Findings:
    return scan(adapter, CorpusConfig(adapter=adapter, root=str(root), options=options))


def rows(clips: dict[str, Clip], *columns: str) -> dict[str, tuple[str, ...]]:
    return {clip_id: tuple(getattr(clip, column) for column in columns) for clip_id, clip in clips.items()}


BASIC = ("path", "audio_path", "speaker", "emotion", "sentence", "modalities")


def test_savee_in_all_three_layouts(tmp_path: Path) -> None:
    for path in (
        "AudioData/DC/a01.wav",
        "AudioVisualClip/DC/a01.avi",
        "AudioData/JE/sa02.wav",
        "AudioData/JE/s03.wav",
        "AudioData/JE/su15.wav",
        "KL_n30.wav",
        "JKd05.avi",
        "a02.wav",
        "AudioData/DC/x01.wav",
    ):
        write_short_media(tmp_path / path)
    write_short_media(tmp_path / "AudioVisualClip/KL/h07.avi", sound=False)
    clips, reasons, notes = probe(tmp_path, "savee")
    assert rows(clips, *BASIC) == {
        "savee/DC/a01": (
            "AudioVisualClip/DC/a01.avi",
            "AudioData/DC/a01.wav",
            "savee/DC",
            "anger",
            "",
            "visual+acoustic",
        ),
        "savee/JE/sa02": ("AudioData/JE/sa02.wav", "", "savee/JE", "sadness", "", "acoustic"),
        "savee/JE/su15": ("AudioData/JE/su15.wav", "", "savee/JE", "surprise", "", "acoustic"),
        "savee/JK/d05": ("JKd05.avi", "", "savee/JK", "disgust", "", "visual+acoustic"),
        "savee/KL/h07": ("AudioVisualClip/KL/h07.avi", "", "savee/KL", "happiness", "", "visual"),
        "savee/KL/n30": ("KL_n30.wav", "", "savee/KL", "neutral", "", "acoustic"),
    }
    wrong = "not a SAVEE file name"
    assert reasons == {
        "a02.wav": "not in a speaker's folder",
        "AudioData/DC/x01.wav": wrong,
        "AudioData/JE/s03.wav": wrong,
    }
    note = "SAVEE: 6 of 480 clips; missing: DC/a02, DC/a03, DC/a04, DC/a05, DC/a06, DC/a07 and 468 more"
    assert notes == [note]


def write_meld_table(root: Path, part: str, *rows: tuple[int, int, str, str, str], encoding: str = "utf-8") -> None:
    """Write one of MELD's tables: dialogue, utterance, speaker, emotion, text."""
    with (root / f"{part}_sent_emo.csv").open("w", encoding=encoding, newline="") as file:
        table = csv.writer(file)
        table.writerow(["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"])
        for number, (dialogue, utterance, speaker, emotion, text) in enumerate(rows, 1):
            table.writerow([number, text, speaker, emotion, "any", dialogue, utterance])


def test_meld_with_parts_extras_and_damaged_clips(tmp_path: Path) -> None:
    train, dev, test = (
        tmp_path / name for name in ("train/train_splits", "dev_splits_complete", "output_repeated_splits_test")
    )
    write_meld_table(
        tmp_path,
        "train",
        (0, 0, "Phoebe", "joy", "Oh my God, he’s lost it."),
        (0, 1, "Phoebe/Waitress", "neutral", "What?"),
        (125, 3, "Ross", "anger", "No!"),
        (309, 0, "Ross", "anger", "No!"),
        (1, 0, "Joey", "sadness", "Gone."),
        encoding="cp1252",
    )
    write_meld_table(tmp_path, "dev", (110, 7, "Ross", "fear", "Oh."), (2, 0, "Monica", "surprise", "What?"))
    write_meld_table(
        tmp_path,
        "test",
        (125, 3, "Chandler", "disgust", "Ew."),
        (38, 4, "Joey", "joy", "…"),
        (9, 9, "Joey", "sadness", "x"),
    )
    write_short_media(train / "dia0_utt0.mp4", layout="5.1", rate_hz=48000)
    write_short_media(train / "dia0_utt1.mp4")
    (train / "dia125_utt3.mp4").write_bytes(b"broken")
    write_short_media(train / "dia309_utt0.mp4")
    write_short_media(train / "dia7_utt7.mp4")
    write_short_media(dev / "dia110_utt7.mp4")
    write_short_media(dev / "dia2_utt0.mp4")
    write_short_media(test / "dia125_utt3.mp4")
    write_short_media(test / "dia38_utt4.mp4")
    (test / "dia9_utt9.mp4").touch()
    write_short_media(test / "final_videos_testdia0_utt0.mp4")
    write_short_media(test / "._dia0_utt1.mp4")  # macOS creates such files
    write_short_media(tmp_path / "dia3_utt3.mp4")
    clips, reasons, notes = probe(tmp_path, "meld")
    assert rows(clips, "speaker", "emotion", "split", "sentence") == {
        "meld/train/Phoebe/dia0_utt0": ("meld/Phoebe", "happiness", "train", "oh my god, he’s lost it."),
        "meld/train/Phoebe/Waitress/dia0_utt1": ("meld/Phoebe/Waitress", "neutral", "train", "what?"),
        "meld/dev/Monica/dia2_utt0": ("meld/Monica", "surprise", "dev", "what?"),
        "meld/test/Chandler/dia125_utt3": ("meld/Chandler", "disgust", "test", "ew."),
    }
    assert {Path(path).name: reason for path, reason in reasons.items() if path.startswith("train")} == {
        "dia125_utt3.mp4": "known bad: damaged in the published corpus",
        "dia309_utt0.mp4": "known bad: badly cut, 41 s",
        "dia7_utt7.mp4": "no label in train_sent_emo.csv",
    }
    assert {Path(path).name: reason for path, reason in reasons.items() if not path.startswith("train")} == {
        "dia110_utt7.mp4": "known bad: damaged in the published corpus",
        "dia38_utt4.mp4": "known bad: badly cut, 305 s",
        "dia9_utt9.mp4": "zero bytes",
        "final_videos_testdia0_utt0.mp4": "an extra clip without a label",
        "dia3_utt3.mp4": "not in a part's folder",
    }
    assert "MELD: 4 of 5 train utterances; missing: dia1_utt0" in notes
    assert "MELD: train_sent_emo.csv labels 5 utterances, not 9989" in notes


def test_missing_meld_table_is_reported_with_the_searched_folder(tmp_path: Path) -> None:
    write_short_media(tmp_path / "root/train_splits/dia0_utt0.mp4")
    with pytest.raises(CorpusError, match=r"train_sent_emo\.csv not found below .*root; set options\.tables"):
        scan_root(tmp_path / "root", "meld")
    (tmp_path / "tables").mkdir()
    write_meld_table(tmp_path / "tables", "train", (0, 0, "Joey", "joy", "Hi"))
    outside = scan_root(tmp_path / "root", "meld", tables=str(tmp_path / "tables"))
    assert len(outside.candidates) == 1
    assert "are outside the corpus's root, so DVC does not track them" in " ".join(outside.notes)
    shutil.copytree(tmp_path / "tables", tmp_path / "root/labels")
    assert "outside" not in " ".join(scan_root(tmp_path / "root", "meld", tables="labels").notes)
    (tmp_path / "tables/train_sent_emo.csv").write_text("a,b\n")
    with pytest.raises(CorpusError, match="lacks the columns Dialogue_ID, Emotion, Speaker, Utterance, Utterance_ID"):
        scan_root(tmp_path / "root", "meld", tables=str(tmp_path / "tables"))


def test_ravdess_uses_one_file_per_trial(tmp_path: Path) -> None:
    for path in (
        "Video_Speech_Actor_01/Actor_01/01-01-05-02-01-01-01.mp4",
        "Actor_01/03-01-05-02-01-01-01.wav",
        "Actor_02/03-01-02-01-02-02-02.wav",
        "Actor_02/01-02-03-01-02-02-02.mp4",
        "Actor_03/01-01-09-01-01-01-03.mp4",
        "Actor_25/03-01-03-01-01-01-25.wav",
    ):
        write_short_media(tmp_path / path)
    write_short_media(tmp_path / "Video_Speech_Actor_01/Actor_01/02-01-05-02-01-01-01.mp4", sound=False)
    write_short_media(tmp_path / "Actor_24/02-01-08-01-01-01-24.mp4", sound=False)
    write_short_media(tmp_path / "Actor_05/03-01-01-01-01-01-05.wav", layout="stereo")
    clips, reasons, notes = probe(tmp_path, "ravdess")
    assert rows(clips, *BASIC) == {
        "ravdess/01/01-05-02-01-01-01": (
            "Video_Speech_Actor_01/Actor_01/01-01-05-02-01-01-01.mp4",
            "",
            "ravdess/01",
            "anger",
            "statement 01",
            "visual+acoustic",
        ),
        "ravdess/02/01-02-01-02-02-02": (
            "Actor_02/03-01-02-01-02-02-02.wav",
            "",
            "ravdess/02",
            "calm",
            "statement 02",
            "acoustic",
        ),
        "ravdess/05/01-01-01-01-01-05": (
            "Actor_05/03-01-01-01-01-01-05.wav",
            "",
            "ravdess/05",
            "neutral",
            "statement 01",
            "acoustic",
        ),
        "ravdess/24/01-08-01-01-01-24": (
            "Actor_24/02-01-08-01-01-01-24.mp4",
            "",
            "ravdess/24",
            "surprise",
            "statement 01",
            "visual",
        ),
    }
    same = "the same performance as Video_Speech_Actor_01/Actor_01/01-01-05-02-01-01-01.mp4"
    assert reasons == {
        "Actor_01/03-01-05-02-01-01-01.wav": same,
        "Video_Speech_Actor_01/Actor_01/02-01-05-02-01-01-01.mp4": same,
        "Actor_02/01-02-03-01-02-02-02.mp4": "song, but options.vocal is speech",
        "Actor_03/01-01-09-01-01-01-03.mp4": "not a RAVDESS file name",
        "Actor_25/03-01-03-01-01-01-25.wav": "not a RAVDESS file name",
    }
    assert len(notes) == 1
    assert notes[0].startswith("RAVDESS: 4 of 1440 speech trials; missing: 01-01-01-01-01-01, ")
    both = scan_root(tmp_path, "ravdess", vocal="both")
    assert [note.partition(";")[0] for note in both.notes] == [
        "RAVDESS: 4 of 1440 speech trials",
        "RAVDESS: 1 of 1012 song trials",
    ]


def test_complete_ravdess_has_no_notes(tmp_path: Path) -> None:
    names = []
    for actor in range(1, 25):
        for channel, emotions in (("01", 8), ("02", 6)):
            for emotion in range(1, emotions + 1):
                for intensity in (1, 2) if emotion > 1 else (1,):
                    names += [
                        f"03-{channel}-0{emotion}-0{intensity}-0{s}-0{r}-{actor:02}" for s in (1, 2) for r in (1, 2)
                    ]
    for name in names:
        if not (name.endswith("18") and name.startswith("03-02")):
            (tmp_path / f"{name}.wav").touch()
    findings = scan_root(tmp_path, "ravdess", vocal="both")
    assert findings.notes == []
    speech = Counter(it.emotion for it in scan_root(tmp_path, "ravdess").candidates)
    assert speech == dict.fromkeys(speech, 192) | {"neutral": 96}
    assert sum(speech.values()) == 1440


def test_crema_d_prefers_wav_and_skips_unfetched_files(tmp_path: Path) -> None:
    for path in (
        "VideoFlash/1001_DFA_ANG_XX.flv",
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "AudioMP3/1001_DFA_ANG_XX.mp3",
        "AudioMP3/1002_IEO_HAP_HI.mp3",
        "VideoFlash/1003_TIE_NEU_XX.flv",
        "AudioWAV/1004_MTI_SAD_XX.wav",
        "VideoFlash/1076_MTI_SAD_XX.flv",
        "VideoFlash/2001_MTI_SAD_XX.flv",
    ):
        write_short_media(tmp_path / path)
    write_short_media(tmp_path / "VideoFlash/1002_IEO_HAP_HI.flv", sound=False)
    (tmp_path / "AudioWAV/1003_TIE_NEU_XX.wav").write_bytes(POINTER)
    (tmp_path / "VideoFlash/1004_MTI_SAD_XX.flv").write_bytes(POINTER)
    (tmp_path / "VideoFlash/1005_MTI_FEA_XX.flv").write_bytes(POINTER)
    (tmp_path / "AudioWAV/1006_MTI_DIS_XX.wav").touch()
    clips, reasons, notes = probe(tmp_path, "crema_d")
    assert rows(clips, *BASIC) == {
        "crema_d/1001/1001_DFA_ANG_XX": (
            "VideoFlash/1001_DFA_ANG_XX.flv",
            "AudioWAV/1001_DFA_ANG_XX.wav",
            "crema_d/1001",
            "anger",
            "DFA",
            "visual+acoustic",
        ),
        "crema_d/1002/1002_IEO_HAP_HI": (
            "VideoFlash/1002_IEO_HAP_HI.flv",
            "AudioMP3/1002_IEO_HAP_HI.mp3",
            "crema_d/1002",
            "happiness",
            "IEO",
            "visual+acoustic",
        ),
        "crema_d/1003/1003_TIE_NEU_XX": (
            "VideoFlash/1003_TIE_NEU_XX.flv",
            "",
            "crema_d/1003",
            "neutral",
            "TIE",
            "visual+acoustic",
        ),
        "crema_d/1004/1004_MTI_SAD_XX": (
            "AudioWAV/1004_MTI_SAD_XX.wav",
            "",
            "crema_d/1004",
            "sadness",
            "MTI",
            "acoustic",
        ),
    }
    pointer = "a git-lfs pointer, not the media; run: git lfs pull"
    assert reasons == {
        "AudioMP3/1001_DFA_ANG_XX.mp3": "the audio is taken from AudioWAV/1001_DFA_ANG_XX.wav",
        "AudioWAV/1003_TIE_NEU_XX.wav": pointer,
        "AudioWAV/1006_MTI_DIS_XX.wav": "zero bytes",
        "VideoFlash/1004_MTI_SAD_XX.flv": pointer,
        "VideoFlash/1005_MTI_FEA_XX.flv": pointer,
        "VideoFlash/1076_MTI_SAD_XX.flv": "known bad: an error picture and silence",
        "VideoFlash/2001_MTI_SAD_XX.flv": "not a CREMA-D file name",
    }
    assert len(notes) == 1
    assert notes[0].startswith("CREMA-D: 7 of 7442 clips; missing: ")


def test_crema_d_can_be_labelled_by_vote(tmp_path: Path) -> None:
    for name in ("1001_DFA_ANG_XX", "1001_IEO_HAP_LO", "1001_IEO_SAD_LO"):
        (tmp_path / f"{name}.wav").touch()
    with pytest.raises(CorpusError, match=r"summaryTable\.csv not found"):
        scan_root(tmp_path, "crema_d", labels="voted")
    (tmp_path / "processedResults").mkdir()
    (tmp_path / "processedResults/summaryTable.csv").write_text(
        '"","FileName","VoiceVote","FaceVote","MultiModalVote"\n"1","1001_DFA_ANG_XX","N","A","A:H"\n'
        '"2","1001_IEO_HAP_LO","N","H","D"\n'
    )
    voted = scan_root(tmp_path, "crema_d", labels="voted")
    assert [(it.name, it.emotion) for it in voted.candidates] == [("1001_IEO_HAP_LO", "disgust")]
    assert voted.left_out == {
        "1001_DFA_ANG_XX.wav": "no label: the vote is a tie, A:H",
        "1001_IEO_SAD_LO.wav": "no label: not in summaryTable.csv",
    }
    by_voice = scan_root(tmp_path, "crema_d", labels="voted", vote="VoiceVote")
    assert [it.emotion for it in by_voice.candidates] == ["neutral", "neutral"]


def test_enterface_is_labelled_by_folders(tmp_path: Path) -> None:
    for path in (
        "subject 11/anger/sentence 1/s12_an_1.avi",
        "subject 12/anger/sentence 1/s12_an_1.avi",
        "subject 3/fear/sentence 2/s_3_fe_2.avi",
        "subject 16/surprise/sentence 3/s16_su_3avi.avi",
        "subject 16/surprise/sentence 3/s16_su_3.avi",
        "Subject 1/Happiness/Sentence 5/s1_ha_5.avi",
        "subject 6/sadness/s6_sa.avi",
        "subject 2/sadness/s2_sa_1.avi",
        "loose.avi",
    ):
        write_short_media(tmp_path / path)
    clips, reasons, notes = probe(tmp_path, "enterface")
    assert rows(clips, "speaker", "emotion", "sentence", "modalities") == {
        "enterface/11/anger.1": ("enterface/11", "anger", "1", "visual+acoustic"),
        "enterface/12/anger.1": ("enterface/12", "anger", "1", "visual+acoustic"),
        "enterface/3/fear.2": ("enterface/3", "fear", "2", "visual+acoustic"),
        "enterface/16/surprise.3": ("enterface/16", "surprise", "3", "visual+acoustic"),
        "enterface/1/happiness.5": ("enterface/1", "happiness", "5", "visual+acoustic"),
    }
    path = "subject 16/surprise/sentence 3/s16_su_3"
    wrong = "not in a folder subject N/emotion/sentence K"
    assert reasons == {
        f"{path}avi.avi": f"the same sentence as {path}.avi",
        "subject 6/sadness/s6_sa.avi": "subject 6 is not cut into sentences; options.unsegmented adds it",
        "subject 2/sadness/s2_sa_1.avi": wrong,
        "loose.avi": wrong,
    }
    assert notes[0].startswith("eNTERFACE'05: 5 of 1287 clips; missing: subject 1 anger sentence 1, ")
    findings = scan_root(tmp_path, "enterface", unsegmented=True)
    assert [it.name for it in findings.candidates if it.speaker == "6"] == ["sadness.s6_sa"]


def test_emodb_is_audio_only_and_boredom_can_be_merged(tmp_path: Path) -> None:
    for name in ("03a01Fa", "08b10Wb", "16a07La", "03a01"):
        write_short_media(tmp_path / f"wav/{name}.wav", rate_hz=16000)
    clips, reasons, notes = probe(tmp_path, "emodb")
    assert rows(clips, "speaker", "emotion", "sentence", "modalities") == {
        "emodb/03/03a01Fa": ("emodb/03", "happiness", "a01", "acoustic"),
        "emodb/08/08b10Wb": ("emodb/08", "anger", "b10", "acoustic"),
        "emodb/16/16a07La": ("emodb/16", "boredom", "a07", "acoustic"),
    }
    assert (reasons, notes) == ({"wav/03a01.wav": "not an EmoDB file name"}, ["EmoDB: 3 of 535 clips"])
    kept, left_out = build_manifest(list(clips.values()), [], ManifestConfig())
    assert (len(kept), left_out[0].reason) == (2, "unknown emotion 'boredom'; manifest.merge can rename it")
    kept, left_out = build_manifest(list(clips.values()), [], ManifestConfig(merge={"boredom": "neutral"}))
    assert (sorted(clip.emotion for clip in kept), left_out) == (["anger", "happiness", "neutral"], [])


@pytest.mark.parametrize("adapter", sorted(CORPORA.keys() - {"csv", "sample"}))
def test_wrong_root_is_reported_with_expected_and_present_files(tmp_path: Path, adapter: str) -> None:
    (tmp_path / "holiday.mp4").touch()
    (tmp_path / "readme.txt").touch()
    with pytest.raises(
        CorpusError, match=rf"corpora\.{adapter}\.root: .*looked for .+; left out 1 media files.*holiday\.mp4 \("
    ):
        scan_root(tmp_path, adapter)
    (tmp_path / "holiday.mp4").unlink()
    with pytest.raises(CorpusError, match=r"looked for .+; found no media files, only readme\.txt$"):
        scan_root(tmp_path, adapter)


@pytest.mark.parametrize("adapter", sorted(CORPORA))
def test_every_adapter_refuses_an_unknown_option(tmp_path: Path, adapter: str) -> None:
    with pytest.raises(ParameterError, match=rf"^corpora\.{adapter}\.options\.colour: unknown key"):
        scan_root(tmp_path, adapter, colour="red")


def shared(*parts: str) -> Path:
    """Return a file or folder of real data, or skip the test."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is missing")
    return path


def test_real_meld_tables_give_the_published_counts(tmp_path: Path) -> None:
    tables = shared("labels", "MELD")
    folders = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    for part, folder in folders.items():
        (tmp_path / folder).mkdir()
        with (tables / f"{part}_sent_emo.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                (tmp_path / folder / f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4").touch()
    shutil.copytree(tables, tmp_path / "labels")
    findings = scan_root(tmp_path, "meld")
    bad = [path for path, reason in findings.left_out.items() if reason.startswith("known bad")]
    assert (len(findings.candidates), len(bad)) == (9989 + 1109 + 2610 - 5, 5)
    merge = "corpora.meld.speakers: {Phoebe Sr.: Phoebe Sr}"
    assert findings.notes == [f"meld: the speakers Phoebe Sr, Phoebe Sr. may be one person; if they are: {merge}"]
    order = ("neutral", "happiness", "surprise", "anger", "sadness", "disgust", "fear")
    published = {
        "train": (4710, 1743, 1205, 1109, 683, 271, 268),
        "dev": (470, 163, 150, 153, 111, 22, 40),
        "test": (1256, 402, 281, 345, 208, 68, 50),
    }
    counts = Counter((it.split, it.emotion) for it in findings.candidates)
    expected = Counter(
        {(part, emotion): n for part, row in published.items() for emotion, n in zip(order, row, strict=True)}
    )
    assert sum((expected - counts).values()) == 5
    assert not counts - expected
    test = [it.emotion for it in findings.candidates if it.split == "test"]
    always_neutral = score([order.index(it) for it in test], [0] * len(test), order)
    assert always_neutral.war == pytest.approx(0.481, abs=1e-3)  # two bad clips are not counted
    assert always_neutral.uar == pytest.approx(1 / 7)


def test_real_crema_d_names_and_votes_are_all_parsed(tmp_path: Path) -> None:
    tables = shared("labels", "CREMA-D")
    with (tables / "SentenceFilenames.csv").open() as file:
        names = [row["Filename"] for row in csv.DictReader(file)]
    for name in names:
        (tmp_path / f"{name}.wav").touch()
    acted = scan_root(tmp_path, "crema_d")
    assert (len(names), len(acted.candidates), len(acted.left_out), acted.notes) == (7442, 7438, 4, [])
    assert Counter(it.emotion for it in acted.candidates)["anger"] == 1271
    assert len({it.speaker for it in acted.candidates}) == 91
    voted = scan_root(tmp_path, "crema_d", labels="voted", tables=str(tables))
    ties = [reason for reason in voted.left_out.values() if "tie" in reason]
    assert len(voted.candidates) + len(voted.left_out) == 7442
    assert len(ties) == 7442 - (1972 + 1219 + 1139 + 1084 + 1019 + 589)


def test_faces_are_detected_in_two_real_clips() -> None:
    clips, reasons, _ = probe(shared("clips"), "crema_d")
    assert rows(clips, "speaker", "emotion", "modalities") == {
        "crema_d/1001/1001_DFA_ANG_XX": ("crema_d/1001", "anger", "visual+acoustic"),
        "crema_d/1001/1001_DFA_HAP_XX": ("crema_d/1001", "happiness", "visual+acoustic"),
    }
    assert reasons == {}
    for clip in clips.values():
        faces = extract_faces(SHARED / "clips" / clip.path, FacesConfig())
        assert len(faces.times) >= 12  # of 16
        centres = (faces.boxes[:, :2] + faces.boxes[:, 2:4]) / 2
        assert np.all(np.abs(centres - (240, 180)) < 90)  # the speaker is in the middle of 480 x 360 pixels


def write_one_row_table(root: Path, part: str) -> None:
    """Write a table that labels one utterance."""
    columns = "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID"
    (root / f"{part}_sent_emo.csv").write_text(f"{columns}\nHi,Joey,joy,0,0\n", encoding="utf-8")


def test_video_is_preferred_to_audio_extracted_from_it(tmp_path: Path) -> None:
    meld, ravdess, enterface = (tmp_path / name for name in ("meld", "ravdess", "enterface"))
    for path in ("audio/train_splits/dia0_utt0.wav", "train/train_splits/dia0_utt0.mp4"):
        write_short_media(meld / path)
    write_one_row_table(meld, "train")
    for path in ("Audio/01-01-05-01-01-01-01.wav", "Video/01-01-05-01-01-01-01.mp4"):
        write_short_media(ravdess / path)
    for path in ("a.wav", "s1_an_1.avi"):
        write_short_media(enterface / "subject 1/anger/sentence 1" / path)
    for root in (meld, ravdess, enterface):
        findings = scan_root(root, root.name)
        assert [Path(it.path).suffix in (".mp4", ".avi") for it in findings.candidates] == [True]
        assert all(reason.startswith("the same ") for reason in findings.left_out.values())


def test_unreadable_file_is_replaced_by_another_of_the_same_performance(tmp_path: Path) -> None:
    ravdess, crema = tmp_path / "ravdess", tmp_path / "crema_d"
    write_short_media(ravdess / "03-01-05-01-01-01-01.wav")
    write_short_media(ravdess / "03-01-04-01-01-01-02.wav")
    (ravdess / "01-01-05-01-01-01-01.mp4").touch()
    clips, reasons, _ = probe(ravdess, "ravdess")
    assert sorted(clip.path for clip in clips.values()) == ["03-01-04-01-01-01-02.wav", "03-01-05-01-01-01-01.wav"]
    assert reasons == {"01-01-05-01-01-01-01.mp4": "zero bytes"}
    for suffix in (".flv", ".mp3"):
        write_short_media(crema / f"1001_DFA_ANG_XX{suffix}")
    (crema / "1001_DFA_ANG_XX.wav").write_bytes(POINTER)
    clips, reasons, _ = probe(crema, "crema_d")
    (clip,) = clips.values()
    assert (clip.path, clip.audio_path) == ("1001_DFA_ANG_XX.flv", "1001_DFA_ANG_XX.mp3")
    assert list(reasons) == ["1001_DFA_ANG_XX.wav"]


def test_two_entries_of_one_corpus_share_their_speakers(tmp_path: Path) -> None:
    for vocal in ("01", "02"):
        write_short_media(tmp_path / f"01-{vocal}-05-01-01-01-01.mp4")
    clips: list[Clip] = []
    for name, vocal in (("spoken", "speech"), ("sung", "song")):
        config = CorpusConfig(adapter="ravdess", root=str(tmp_path), options={"vocal": vocal})
        clips += probe_corpus(name, config, RUN).clips
    assert {clip.speaker for clip in clips} == {"ravdess/01"}
    assert len({clip.clip_id for clip in clips}) == len({clip.performance for clip in clips}) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anger/01_01-01-05-01-01-01-01.mp4", "anger/01_03-01-05-01-01-01-01.wav"),
        ("flv/1001_DFA_ANG_XX.flv", "anger/1001_1001_DFA_ANG_XX.wav"),
    ],
)
def test_files_of_one_performance_are_recognised_by_name_in_any_folder(one: str, other: str) -> None:
    clips = [make_clip("a", path=one), make_clip("b", path=other), make_clip("c", path="c.mp4", audio_path=other)]
    assert len({clip.performance for clip in clips}) == 1


def test_unexpected_clips_and_missing_parts_are_noted(tmp_path: Path) -> None:
    write_short_media(tmp_path / "savee/DC/a77.wav")
    assert "SAVEE: 1 unexpected clips: DC/a77" in scan_root(tmp_path / "savee", "savee").notes
    for sentence in (1, 4):
        write_short_media(tmp_path / f"e/subject 23/happiness/sentence {sentence}/s23_ha_{sentence}.avi")
    (note,) = scan_root(tmp_path / "e", "enterface").notes
    assert note.startswith("eNTERFACE'05: 2 of 1287 clips; missing:")
    write_short_media(tmp_path / "e/subject 23/happiness/sentence 5/s23_ha_5.avi")
    assert "subject 23 happiness sentence 5" in scan_root(tmp_path / "e", "enterface").notes[1]
    write_short_media(tmp_path / "m/test_splits/output_repeated_splits_test/dia0_utt0.mp4")
    write_one_row_table(tmp_path / "m", "test")
    notes = scan_root(tmp_path / "m", "meld").notes
    assert "MELD: none of the 9989 train utterances" in notes
    assert "MELD: none of the 1109 dev utterances" in notes


def test_second_copy_of_emodb_is_left_out(tmp_path: Path) -> None:
    for folder in ("wav", "wav16k"):
        write_short_media(tmp_path / folder / "03a01Fa.wav")
    findings = scan_root(tmp_path, "emodb")
    assert [it.path for it in findings.candidates] == ["wav/03a01Fa.wav"]
    assert findings.left_out == {"wav16k/03a01Fa.wav": "the same clip as wav/03a01Fa.wav"}
