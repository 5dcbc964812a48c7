"""What is fuzzed: readers of file names, tables, parameters, cards and results, each as a function of bytes."""

import itertools
import json
import os
import shutil
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from report_samples import evaluation

from data_manifest.corpora.adapters import CORPORA, CorpusConfig, scan
from data_manifest.corpora.contract import media_files
from data_manifest.manifest.clips import Clip, Exclusion, Row, read_rows, write_rows
from hostile.files import write_head
from hostile.recording import RECORDINGS, write_recording
from pipeline.base.params import check, read_params
from pipeline.base.provenance import ROOT
from pipeline.cli.sections import MODELS
from pipeline.evaluation.schemas import Evaluation
from pipeline.faces.precomputed import Tables
from pipeline.training.checkpoints import load_head

MAX_NAMES = 12
NAME_BYTES = 100
DEPTH = 4
ADAPTERS = sorted(CORPORA)
CLIP = Clip("c/s/a", "c", "a.mp4", "b.wav", "c/s", "anger", "train", "1", "visual+acoustic", 1.5, "0" * 64)
EXCLUSION = Exclusion("c/s/b", "b.mp4", "corpus", "zero bytes")


@dataclass(frozen=True)
class Target:
    """A reader under attack; `read` raises `PipelineError`, or what it raises is a fault."""

    read: Callable[[bytes], object]
    seeds: Sequence[bytes]


def make_targets(folder: Path) -> dict[str, Target]:
    """Return the targets, which write what they read into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "file names": Target(partial(_read_names, folder / "names"), _names()),
        "label tables": _label_tables(folder / "labels"),
        "manifests": _rows(folder / "manifest.csv", CLIP),
        "exclusions": _rows(folder / "exclusions.csv", EXCLUSION),
        "tables of boxes": _boxes(folder / "boxes"),
        "parameters": _parameters(folder / "params.yaml"),
        "cards": _cards(folder / "cards"),
        "results": _results(folder / "evaluation.json"),
    }


def _names() -> list[bytes]:
    """Return trees: the number of an adapter, then file names, all separated by NUL."""
    trees = {
        "crema_d": "AudioWAV/1001_DFA_ANG_XX.wav|VideoFlash/1001_DFA_ANG_XX.flv|1001_DFA_ANG_XX.mp3",
        "emodb": "03a01Fa.wav|wav/16b10Wb.wav",
        "enterface": "subject 1/anger/sentence 1/s1_an_1.avi|subject 6/fear/s6_fe_1.avi",
        "folder": "anger/s1_a.mp4|anger/s1_a.wav|joy/s2_b.flv",
        "meld": "train_splits/dia0_utt0.mp4|train_sent_emo.csv|dev_sent_emo.csv",
        "ravdess": "Actor_01/01-01-05-01-01-01-01.mp4|Actor_01/03-01-05-01-01-01-01.wav",
        "savee": "DC/a01.avi|AudioData/DC/a01.wav|AudioVisualClip/DC/a01.avi",
    }
    return [bytes([ADAPTERS.index(name)]) + f"|{tree}".replace("|", "\0").encode() for name, tree in trees.items()]


def _read_names(root: Path, content: bytes) -> None:
    """Make files of these names; every media file must become a candidate or be left out with a reason."""
    first, *names = content.split(b"\0")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name in names[:MAX_NAMES]:
        _make_file(os.fsencode(root), name)
    findings = scan("fuzzed", CorpusConfig(adapter=ADAPTERS[sum(first[:1]) % len(ADAPTERS)], root=str(root)))
    files = {path for candidate in findings.candidates for path in candidate.files}
    assert {*media_files(root)} <= files | findings.left_out.keys(), "a file has no row"
    assert all(findings.left_out.values()), "a file is left out without a reason"


def _make_file(root: bytes, name: bytes) -> None:
    """Make an empty file in the folder or below it; a name that cannot be a file's is no file."""
    parts = [part[:NAME_BYTES] for part in name.split(b"/")[:DEPTH] if part.strip(b".")]
    path = Path(os.fsdecode(b"/".join([root, *parts])))
    with suppress(FileExistsError, IsADirectoryError, NotADirectoryError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _label_tables(root: Path) -> Target:
    write_recording(root / "a.mp4", RECORDINGS[".mp4"])
    (root / "b.wav").write_bytes(b"")

    def read(content: bytes) -> None:
        (root / "clips.csv").write_bytes(content)
        scan("fuzzed", CorpusConfig(adapter="csv", root=str(root)))

    rows = b"path,emotion,speaker,split,sentence,audio_path\na.mp4,anger,s1,train,1,b.wav\n"
    return Target(read, [rows, b'path,emotion,speaker\n"./b/../a.mp4",Joy,s2\nb.wav,,\n', b"\xef\xbb\xbf" + rows])


def _rows(path: Path, row: Row) -> Target:
    kind = type(row)

    def read(content: bytes) -> None:
        path.write_bytes(content)
        rows = read_rows(path, kind)
        write_rows(path, rows, kind)
        assert sorted(map(repr, read_rows(path, kind))) == sorted(map(repr, rows)), "a row changes when it is written"

    write_rows(path, [row], kind)
    return Target(read, [path.read_bytes()])


def _boxes(folder: Path) -> Target:
    clip = write_recording(folder / "clips/a.mp4", RECORDINGS[".mp4"])
    numbers = itertools.count()

    def read(content: bytes) -> None:
        table = folder / f"{next(numbers)}.csv"  # the last table is cached by its path
        table.write_bytes(content)
        try:
            Tables(table, 0.5).boxes(clip, np.asarray([0.0, 0.1], np.float32))
        finally:
            table.unlink()

    py_feat = b"input,frame,FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore\na.mp4,0,1,2,30,30,0.9\n"
    points = ",".join(f"{axis}_{number}" for axis in "xy" for number in range(68))
    open_face = f"input,frame, success, confidence,{points}\na.mp4,1,1,0.9,{','.join(['5'] * 136)}\n"
    return Target(read, [py_feat, open_face.encode()])


def _parameters(path: Path) -> Target:
    def read(content: bytes) -> None:
        path.write_bytes(content)
        for name, values in read_params(path).items():
            check(values, MODELS[name], where=name)

    # JSON is YAML.
    seeds = [json.dumps({name: values}).encode() for name, values in read_params(ROOT / "params.yaml").items()]
    return Target(read, [*seeds, b"faces: {detector: os:system}\n", b"a: &a [*a]\n", b"run: {clip_timeout_s: .inf}\n"])


def _cards(folder: Path) -> Target:
    content = write_head(folder / "head.safetensors", "linear").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    tensors = content[8 + length :]

    def read(card: bytes) -> None:
        metadata = header["__metadata__"] | {"card": card.decode("utf-8", "replace")}
        text = json.dumps(header | {"__metadata__": metadata}).encode()
        path = folder / "fuzzed.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + tensors)
        load_head(path)

    return Target(read, [header["__metadata__"]["card"].encode()])


def _results(path: Path) -> Target:
    evaluation().write(path)

    def read(content: bytes) -> None:
        path.write_bytes(content)
        Evaluation.read(path)

    return Target(read, [path.read_bytes(), b'{"schema": "fdan.evaluation/1"}', b"[" * 5000])
