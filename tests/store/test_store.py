"""The store: clips are read as they were written, damage is detected, equal contents give equal files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.base.errors import StoreError
from pipeline.store import writer
from pipeline.store.clips import ClipFaces, ClipTokens
from pipeline.store.columns import ClipData, Ragged, to_columns
from pipeline.store.features import FeatureStore
from pipeline.store.reader import Reader, describe
from pipeline.store.schemas import EMBEDDINGS, FACES, Schema
from pipeline.store.writer import open_writer

RNG = np.random.default_rng(0)
CLIPS: dict[str, dict[str, Any]] = {
    clip_id: {"tokens": RNG.normal(size=(n, 3)).astype(np.float32), "times": RNG.random(n).astype(np.float32)}
    for clip_id, n in {"a/ä": 4, "b": 0, "c": 2, "d": 1}.items()
}
WEIGHTS = {"name": "random", "sha256": "0"}
ATTRIBUTES = {"schema": EMBEDDINGS.name, "modality": "visual", "config": {"x": 1}, "weights": WEIGHTS}


def write(path: Path, clips: dict[str, dict[str, Any]] = CLIPS) -> Path:
    like = {"tokens": np.empty((0, 3), np.float32), "times": np.empty(0, np.float32)}
    with open_writer(path, like=like, attributes={**ATTRIBUTES, "fingerprint": "f", "failures": {}}) as writer:
        for clip_id, columns in clips.items():
            writer.append(clip_id, columns)
    return path


def test_the_file_follows_its_schema(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path / "visual.h5")) as file:
        assert file["tokens"].shape == (7, 3)
        assert file["tokens"].dtype == file["times"].dtype == np.float32
        assert file["offsets"].dtype == np.int64
        assert file["offsets"][:].tolist() == [0, 4, 4, 6, 7]
        assert [name.decode() for name in file["clip_id"]] == list(CLIPS)
        assert file.attrs["schema"] == b"fdan.embeddings/6"
        assert {"modality", "config", "weights", "fingerprint"} <= set(file.attrs)


def test_the_store_is_a_mapping_of_clips(tmp_path: Path) -> None:
    store = FeatureStore(write(tmp_path / "visual.h5"))
    assert (len(store), list(store), "b" in store, "x" in store) == (4, list(CLIPS), True, False)
    for clip_id, columns in CLIPS.items():
        np.testing.assert_array_equal(store[clip_id].tokens, columns["tokens"])
        np.testing.assert_array_equal(store[clip_id].times, columns["times"])
    assert store.clips_with_tokens() == ["a/ä", "c", "d"]
    with pytest.raises(KeyError):
        store["x"]


def test_loading_pads_and_masks_in_the_requested_order(tmp_path: Path) -> None:
    padded = FeatureStore(write(tmp_path / "visual.h5")).load(["c", "absent", "a/ä", "b"])
    assert padded.values.shape == (4, 4, 3)
    assert padded.mask.sum(1).tolist() == [2, 0, 4, 0]
    np.testing.assert_array_equal(padded.values[0, :2], CLIPS["c"]["tokens"])
    np.testing.assert_array_equal(padded.times[2], CLIPS["a/ä"]["times"])
    assert (padded.values[~padded.mask] == 0).all()


@pytest.mark.parametrize("block_rows", [1, 4, 7, 1000])
def test_loading_does_not_depend_on_block_boundaries(
    block_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "TOKENS_CHUNK_BYTES", block_rows * 3 * 4)
    rng = np.random.default_rng(0)
    clips = {
        f"c{number}": {"tokens": rng.normal(size=(length, 3)), "times": np.arange(length) + number}
        for number, length in enumerate(rng.integers(0, 9, 40))
    }
    clips = {name: {key: value.astype(np.float32) for key, value in clip.items()} for name, clip in clips.items()}
    store = FeatureStore(write(tmp_path / "visual.h5", clips))
    mixed = [*rng.permutation(list(clips))[:25], "absent", "c7", "c7"]
    for clip_ids in (list(clips), mixed):
        padded = store.load(clip_ids)
        for row, clip_id in enumerate(clip_ids):
            length = len(clips[clip_id]["times"]) if clip_id in clips else 0
            assert padded.mask[row].tolist() == [True] * length + [False] * (padded.mask.shape[1] - length)
            if length:
                np.testing.assert_array_equal(padded.values[row, :length], clips[clip_id]["tokens"])
                np.testing.assert_array_equal(padded.times[row, :length], clips[clip_id]["times"])
        assert (padded.values[~padded.mask] == 0).all()


def test_a_store_without_clips_keeps_the_width_of_tokens(tmp_path: Path) -> None:
    assert FeatureStore(write(tmp_path / "visual.h5", {})).load(["a", "b"]).values.shape == (2, 1, 3)


def test_equal_contents_give_equal_files(tmp_path: Path) -> None:
    files = [write(tmp_path / name).read_bytes() for name in ("one.h5", "two.h5")]
    assert len({hashlib.md5(content).hexdigest() for content in files}) == 1


def test_ragged_rows_are_read_row_by_row(tmp_path: Path) -> None:
    rows = {"a": [b"one", b"", b"three"], "b": [], "c": [b"four"]}
    like: dict[str, Any] = {
        "times": np.empty(0, np.float32),
        "files": np.empty(0, np.uint8),
        "files_lengths": np.empty(0, np.int64),
    }
    with open_writer(tmp_path / "faces.h5", like=like, attributes={"schema": "fdan.x/1"}) as writer:
        for clip_id, files in rows.items():
            flat = np.frombuffer(b"".join(files), np.uint8)
            lengths = np.asarray([len(file) for file in files], np.int64)
            writer.append(clip_id, {"times": np.zeros(len(files), np.float32), "files": flat, "files_lengths": lengths})

    @dataclass(frozen=True)
    class ClipFiles(ClipData):
        files: Ragged[np.uint8]

    empty = ClipFiles(like["times"], Ragged(like["files"], like["files_lengths"]))
    reader = Reader(tmp_path / "faces.h5", schema=Schema("fdan.x/1", empty))
    assert {clip_id: [file.tobytes() for file in reader[clip_id].files] for clip_id in reader} == rows


def test_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a: columns with different numbers of rows"):
        write(tmp_path / "visual.h5", {"a": {"tokens": np.zeros((2, 3), np.float32), "times": np.zeros(1, np.float32)}})


def test_a_failed_writer_leaves_the_earlier_file_unchanged(tmp_path: Path) -> None:
    before = write(tmp_path / "visual.h5").read_bytes()
    with pytest.raises(RuntimeError, match="half-way"), open_writer(tmp_path / "visual.h5", like={}, attributes={}):
        raise RuntimeError("half-way")
    assert (tmp_path / "visual.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["visual.h5"]


@pytest.mark.parametrize("kind", ["cut", "text", "absent", "flipped", "renamed"])
def test_an_error_about_a_damaged_file_names_the_stage_to_run_again(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "visual.h5")
    content = path.read_bytes()
    start = content.index(CLIPS["c"]["tokens"].tobytes())
    flipped = content[:start] + bytes([content[start] ^ 64]) + content[start + 1 :]
    renamed = content.replace("a/ä".encode(), "a/ö".encode())
    damaged = {"cut": content[: len(content) // 2], "text": b"hello", "absent": b"", "flipped": flipped}
    path.write_bytes({**damaged, "renamed": renamed}[kind])
    if kind == "absent":
        path.unlink()
    with pytest.raises(StoreError, match=r"visual.h5 .*dvc repro --force --single-item embed_faces"):
        FeatureStore(path).load(["c"])


def read_everything(path: Path) -> str:
    """Return the whole content of a file."""
    reader = Reader(path, schema=EMBEDDINGS)
    columns = {clip_id: {name: it.tolist() for name, it in reader.columns(clip_id).items()} for clip_id in reader}
    loaded = [part.tolist() for part in FeatureStore(path).load(list(CLIPS)) if part is not None]
    return repr([describe(path), reader.media_sha256, columns, loaded])


def test_a_file_with_a_flipped_bit_is_refused_or_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "TOKENS_CHUNK_BYTES", 64)
    monkeypatch.setattr(writer, "CHUNK_BYTES", 64)
    path = write(tmp_path / "visual.h5")
    whole, expected = path.read_bytes(), read_everything(path)
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.permutation(len(whole))[:1000]:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << rng.integers(8)
        path.unlink()  # a new file: a traceback may keep the old one open, and HDF5 would read from its cache
        path.write_bytes(flipped)
        try:
            assert read_everything(path) == expected, f"byte {position}"
        except StoreError:
            refused += 1
    assert refused > 300  # the other bytes are unused space in HDF5


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    def make(*, fingerprint: str = "f", **sha256: str) -> Reader[ClipTokens]:
        path = tmp_path / f"{fingerprint}{sha256}.h5"
        attributes = {"schema": EMBEDDINGS.name, "fingerprint": fingerprint}
        with open_writer(path, like=CLIPS["b"], attributes=attributes) as writer:
            for clip_id, value in sha256.items():
                writer.append(clip_id, CLIPS["b"], media_sha256=value)
        return Reader(path, schema=EMBEDDINGS)

    first = make(a="1", b="2")
    assert first.media_sha256 == {"a": "1", "b": "2"}
    others = [make(a="1", b="3"), make(a="1"), make(b="1", a="2"), make(fingerprint="g", a="1", b="2")]
    assert len({first.version, *(it.version for it in others)}) == 5
    first.require_match(make(a="1", b="2").version)
    with pytest.raises(StoreError, match=r"is not the file that the embeddings were made from; run: dvc repro"):
        others[0].require_match(first.version)


@pytest.mark.parametrize("clips", [10, 5000])  # HDF5 itself has checksums for attributes of a few kilobytes only
def test_a_change_in_the_attributes_is_detected(clips: int, tmp_path: Path) -> None:
    failures = {f"clip{number:04}": "cannot be decoded" for number in range(clips)}
    path = tmp_path / "faces.h5"
    like = to_columns(ClipFaces.empty())
    with open_writer(path, like=like, attributes={"schema": FACES.name, "failures": failures}):
        pass
    assert Reader[Any](path, schema=None).attributes["failures"] == failures
    content = path.read_bytes()
    assert b"clip0007" in content
    path.write_bytes(content.replace(b"clip0007", b"clip0001"))
    with pytest.raises(StoreError, match="damaged"):
        describe(path)


def test_a_file_is_opened_once_at_the_first_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "visual.h5")
    opened = []

    class Counted(h5py.File):  # type: ignore[misc]
        def __init__(self, *arguments: Any) -> None:
            opened.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr("pipeline.store.reader.h5py.File", Counted)
    file = FeatureStore(path)
    assert not opened
    file.load(["a/ä"])
    file.load(["c"])
    assert (file["c"].tokens.shape, len(file), file.attributes["fingerprint"], len(opened)) == ((2, 3), 4, "f", 1)


def test_views_are_loaded_and_their_damage_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "visual.h5"
    rng = np.random.default_rng(0)
    clips = {name: {**columns, "view_1": rng.normal(size=columns["tokens"].shape)} for name, columns in CLIPS.items()}
    like = {"tokens": np.empty((0, 3), np.float32), "times": np.empty(0, np.float32)}
    with open_writer(path, like=like | {"view_1": like["tokens"]}, attributes=ATTRIBUTES) as writer:
        for clip_id, columns in clips.items():
            writer.append(clip_id, {name: value.astype(np.float32) for name, value in columns.items()})
    second = clips["c"]["view_1"].astype(np.float32)
    store = FeatureStore(path)
    views = store.load(["c"]).views
    assert views is not None
    np.testing.assert_array_equal(views[0, 0], second)
    np.testing.assert_array_equal(store["c"].views[0], second)
    content = path.read_bytes()
    path.write_bytes(content.replace(second.tobytes(), (-second).tobytes()))
    with pytest.raises(StoreError, match=r"damaged in 'view_1' \(its sum differs\)"):
        FeatureStore(path).load(["c"])


def test_clips_with_tokens_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    clips = {"a": CLIPS["c"], "b": CLIPS["c"] | {"tokens": np.asarray([[1, 2, 3], [4, np.nan, 6]], np.float32)}}
    store = FeatureStore(write(tmp_path / "visual.h5", clips))
    assert store.load(["a"]).mask.sum() == 2
    large = {"a": CLIPS["c"] | {"tokens": np.full((2, 3), 3e38, np.float32)}}  # finite, but their sum is not
    assert FeatureStore(write(tmp_path / "large.h5", large)).load(["a"]).mask.sum() == 2
    with pytest.raises(StoreError, match=r"visual.h5: tokens of the clip 'b' are not finite; run: dvc repro"):
        store.load(["a", "b"])
    late = {"a": CLIPS["d"], "b": CLIPS["c"] | {"times": np.asarray([0, np.inf], np.float32)}}
    with pytest.raises(StoreError, match=r"late.h5: times of the clip 'b' are not finite"):
        FeatureStore(write(tmp_path / "late.h5", late)).load(["a", "b"])


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has the schema 'fdan.embeddings/6', not 'fdan.faces/6'"):
        len(Reader(write(tmp_path / "faces.h5"), schema=FACES))


def test_describe_returns_the_attributes_and_checks_every_chunk(tmp_path: Path) -> None:
    path = write(tmp_path / "visual.h5")
    description = describe(path)
    columns = [description[name] for name in ("clips", "schema", "tokens", "config")]
    assert columns == [4, EMBEDDINGS.name, "7 x 3", {"x": 1}]
    assert description["size"] == f"{path.stat().st_size:,} bytes, intact"
    content = bytearray(path.read_bytes())
    content[content.index(CLIPS["d"]["times"].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged in 'times'"):
        describe(path)
