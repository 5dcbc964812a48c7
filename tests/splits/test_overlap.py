"""Published folds that share speakers, and dialogues by the ids of clips."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import make_clip

from data_manifest.splits.dialogues import dialogue_of
from data_manifest.splits.overlap import count_shared_speakers
from data_manifest.splits.protocols import RAVDESS_GROUPS
from pipeline.base.errors import CorpusError
from pipeline.base.provenance import ROOT

PAGE = (ROOT / "docs/published_folds.md").read_text()
PATTERNS: dict[str, str] = dict(re.findall(r"^\| (\w+) \| `(.+?)` \|", PAGE, re.MULTILINE))
ACTORS = range(1, 25)


def write_fold(path: Path, paths: Iterable[str]) -> Path:
    """Write a fold file of EmoBox's shape, with the keys of its published lists."""
    lines = [
        {"key": Path(wav).stem, "dataset": "x", "wav": f"downloads/x/{wav}", "type": "raw", "sample_rate": 16000}
        | {"num_frame": 33978.0, "task": "category", "length": 2.1, "emo": "anger", "channel": 1}
        for wav in paths
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def shared(folder: Path, name: str, train: Iterable[str], test: Iterable[str]) -> tuple[int, int]:
    lists = write_fold(folder / "train.jsonl", train), write_fold(folder / "test.jsonl", test)
    return count_shared_speakers(*lists, PATTERNS[name])


def test_folds_by_clip_share_every_speaker(tmp_path: Path) -> None:
    cremad = [f"AudioWAV/{actor}_DFA_ANG_{take}.wav" for actor in range(1001, 1092) for take in ("XX", "LO")]
    assert shared(tmp_path, "cremad", cremad[::2], cremad[1::2]) == (91, 91)
    subjects = [it for it in range(1, 45) if it != 6]
    enterface = [f"subject {it}/anger/sentence {n}/s{it}_an_{n}.avi" for it in subjects for n in (1, 2)]
    assert shared(tmp_path, "enterface", enterface[::2], enterface[1::2]) == (43, 43)
    emodb = [f"wav/{it}{text}Wb.wav" for it in ("03", *range(8, 10), *range(10, 17)) for text in ("a02", "a05")]
    emodb = [re.sub(r"wav/(\d)([ab])", r"wav/0\1\2", it) for it in emodb]
    assert shared(tmp_path, "emodb", emodb[::2], emodb[1::2]) == (10, 10)


def test_folds_by_speaker_share_none(tmp_path: Path) -> None:
    for group in RAVDESS_GROUPS["ravdess_6"]:
        files = {it: f"audio/Audio_Speech_Actors_01-24/Actor_{it:02}/03-01-05-01-01-01-{it:02}.wav" for it in ACTORS}
        test = [files.pop(actor) for actor in group]
        assert shared(tmp_path, "ravdess", files.values(), test) == (0, 4)
    savee = [f"{it}_a01.wav" for it in ("DC", "JE", "JK", "KL")]
    assert shared(tmp_path, "savee", savee[1:], savee[:1]) == (0, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1: not a JSON object with the path `wav`"),
        ("[]", "line 1: not a JSON object with the path `wav`"),
        ('{"key": "x"}', "line 1: not a JSON object with the path `wav`"),
        ('{"wav": "x.wav"}', r"line 1: the pattern .* finds no speaker in 'x.wav'"),
    ],
)
def test_fold_file_of_another_shape_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "fold.jsonl").write_text(text)
    with pytest.raises(CorpusError, match=words):
        count_shared_speakers(tmp_path / "fold.jsonl", tmp_path / "fold.jsonl", r"/(\d{4})_")


@pytest.mark.parametrize(
    ("clip_id", "split", "dialogue"),
    [
        ("meld/test/Joey/dia12_utt3", "test", "meld/test/dia12"),
        ("meld/train/Joey/dia12_utt3", "train", "meld/train/dia12"),  # numbers begin anew in each part
        ("meld/test/Ross/dia1_utt23", "test", "meld/test/dia1"),
        ("ravdess/01/01-01-05-01-01-01-01", "", ""),
    ],
)
def test_dialogue_is_that_of_melds_names(clip_id: str, split: str, dialogue: str) -> None:
    corpus = clip_id.partition("/")[0]
    assert dialogue_of(make_clip(clip_id, corpus=corpus, split=split)) == dialogue
