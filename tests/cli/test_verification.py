"""`fdan doctor --verify` names every media file that differs from what was published, or from the manifest."""

import json
import lzma
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import SHARED, make_clip
from ruamel.yaml import YAML
from typer.testing import CliRunner

from data_manifest.corpora import crema_d
from data_manifest.corpora.published import read_published_files
from data_manifest.manifest.clips import MANIFEST, Clip, write_rows
from pipeline.base.digests import cached_sha256
from pipeline.base.errors import CorpusError
from pipeline.base.provenance import ROOT
from pipeline.cli.main import app

NAMES = ("1001_DFA_ANG_XX", "1001_DFA_HAP_XX", "1002_DFA_SAD_XX")
HAPPY = "VideoFlash/1001_DFA_HAP_XX.flv"


def content_of(name: str) -> bytes:
    return f"the bytes of {name}, ".encode() * 100


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus of three small files, whose checksums are published; the current folder is above it."""
    monkeypatch.chdir(tmp_path)
    lines = ["path,bytes,sha256"]
    for name in NAMES:
        path = Path("corpus/VideoFlash", f"{name}.flv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content_of(name))
        lines.append(f"VideoFlash/{name}.flv,{len(content_of(name))},{sha256(content_of(name)).hexdigest()[:32]}")
    Path("table.csv.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    monkeypatch.setattr(crema_d, "CHECKSUMS", tmp_path / "table.csv.xz")
    write_params("crema_d")
    return Path("corpus")


def write_params(adapter: str) -> None:
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params |= {"corpora": {"actors": {"adapter": adapter, "root": "corpus"}}, "render": {}, "ablations": {}}
    Path("params.yaml").write_text(json.dumps(params))


def verify() -> tuple[int, list[str]]:
    """Return the exit status of `fdan doctor --verify`, and its last lines: those about the media."""
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(app, ["doctor", "--verify"])
    lines = result.output.splitlines()
    start = next(index for index, line in enumerate(lines) if " protocols: " in line)
    return result.exit_code, lines[start + 1 :]


def test_files_as_published_are_counted(corpus: Path) -> None:
    assert verify() == (0, ["ok    corpora.actors: 3 files as published"])


def test_files_in_other_folders_are_known_by_their_names(corpus: Path) -> None:
    (corpus / "VideoFlash").rename(corpus / "my videos")
    assert verify() == (0, ["ok    corpora.actors: 3 files as published"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (content_of(NAMES[1])[:-7], "it is cut short: it has 2993 of 3000 bytes"),
        (content_of(NAMES[0]), "it holds the bytes of the published VideoFlash/1001_DFA_ANG_XX.flv"),
        (b"", "zero bytes"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer, not the media; run: git lfs pull"),
        (
            content_of(NAMES[1])[:-1] + b"?",
            f"it has the sha256 {sha256(content_of(NAMES[1])[:-1] + b'?').hexdigest()[:32]}…, "
            f"not {sha256(content_of(NAMES[1])).hexdigest()[:32]}…, as published",
        ),
        (
            content_of(NAMES[1]) + b"?",
            f"it has 3001 bytes, not 3000, and the sha256 {sha256(content_of(NAMES[1]) + b'?').hexdigest()[:32]}…, "
            f"not {sha256(content_of(NAMES[1])).hexdigest()[:32]}…, as published",
        ),
    ],
)
def test_file_that_differs_is_named_with_the_difference(content: bytes, reason: str, corpus: Path) -> None:
    (corpus / HAPPY).write_bytes(content)
    status, lines = verify()
    assert status == 1
    assert lines == [f"FAULT corpora.actors: {HAPPY}: {reason}", "ok    corpora.actors: 2 files as published"]


def test_copy_under_a_name_that_was_not_published_is_named(corpus: Path) -> None:
    shutil.copy(corpus / HAPPY, corpus / "backup.flv")
    (corpus / "own.flv").write_bytes(b"own" * 1000)
    status, lines = verify()
    assert status == 1
    assert lines == [
        f"FAULT corpora.actors: backup.flv: it holds the bytes of the published {HAPPY}",
        "ok    corpora.actors: 3 files as published",
        "note  corpora.actors: no checksum is published of 1 file: own.flv",
    ]


def test_damage_that_the_file_system_does_not_show_is_detected(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.base.digests._cacheable_state", lambda path: "as before")
    assert len({*cached_sha256([corpus / HAPPY])}) == 1
    content = bytearray(content_of(NAMES[1]))
    content[5] ^= 1
    (corpus / HAPPY).write_bytes(content)
    assert verify()[0] == 1


def test_media_of_any_corpus_are_compared_with_the_manifest(corpus: Path) -> None:
    for name in NAMES:
        (corpus / f"{name}.wav").write_bytes(content_of(name))
        (corpus / "VideoFlash" / f"{name}.flv").unlink()
    table = "path,emotion,speaker\n" + "".join(f"{name}.wav,anger,a\n" for name in NAMES)
    (corpus / "clips.csv").write_text(table)
    write_params("csv")
    assert verify()[1] == [
        "note  corpora.actors: has no published checksums, and data/manifest.csv does not list it yet"
    ]
    clips = [
        make_clip(name, corpus="actors", path=f"{name}.wav", sha256=sha256(content_of(name)).hexdigest())
        for name in NAMES
    ]
    write_rows(MANIFEST, clips, Clip)
    (corpus / f"{NAMES[0]}.wav").write_bytes(content_of(NAMES[1]))
    (corpus / f"{NAMES[1]}.wav").unlink()
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(app, ["doctor", "--verify"])
    assert result.exit_code == 1
    assert result.output.splitlines()[-3:] == [
        f"FAULT corpora.actors: {NAMES[0]}: {NAMES[0]}.wav has changed since data/manifest.csv was made; "
        "restore it, or run: dvc repro",
        f"FAULT corpora.actors: {NAMES[1]}: {NAMES[1]}.wav: missing",
        "ok    corpora.actors: 1 clip as in data/manifest.csv",
    ]


@pytest.mark.parametrize(
    "content", [b"not xz", lzma.compress(b"path,sha256\na,b\n"), lzma.compress(b"path,bytes\n\xff")]
)
def test_damaged_table_of_checksums_is_one_line(content: bytes, corpus: Path) -> None:
    Path("table.csv.xz").write_bytes(content)
    with pytest.raises(CorpusError, match=r"table\.csv\.xz is not a table of checksums \(.*\); it needs"):
        read_published_files(Path("table.csv.xz"))
    status, lines = verify()
    assert (status, len(lines)) == (1, 1)


def test_published_table_of_crema_d_knows_all_files_and_the_real_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_published_files(crema_d.CHECKSUMS)
    suffixes = {"VideoFlash": "flv", "AudioWAV": "wav", "AudioMP3": "mp3"}
    paths = [f"{folder}/{name}.{suffix}" for folder, suffix in suffixes.items() for name in crema_d._expected_clips()]
    assert len(paths) == 3 * 7442
    assert all(table.lookup(path) for path in paths)
    clips = sorted((SHARED / "clips").glob("*.flv"))
    if not clips:
        pytest.skip(f"{SHARED / 'clips'} holds no real clips")
    monkeypatch.chdir(tmp_path)
    Path("corpus").mkdir()
    for clip in clips:
        shutil.copyfile(clip, Path("corpus", clip.name))
    write_params("crema_d")
    assert verify() == (0, [f"ok    corpora.actors: {len(clips)} files as published"])
    first, second = (Path("corpus", clip.name) for clip in clips)
    first.rename("corpus/x")
    second.rename(first)
    Path("corpus/x").rename(second)
    status, lines = verify()
    assert status == 1
    assert sum("it holds the bytes of the published VideoFlash/" in line for line in lines) == len(clips)
