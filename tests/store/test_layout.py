"""A stranger's HDF5 file: whatever the format can do besides holding clips is refused by name, before it is read."""

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import assert_one_line, mutate

from pipeline.base.errors import PipelineError, StoreError
from pipeline.store import writer
from pipeline.store.clips import ClipFaces
from pipeline.store.columns import Ragged, to_columns
from pipeline.store.reader import Reader, describe
from pipeline.store.schemas import EMBEDDINGS, FACES
from pipeline.store.writer import open_writer

RNG = np.random.default_rng(0)
SECRET = b"the content of another file, long enough for a column " * 8
TOKENS = {"tokens": RNG.normal(size=(3, 4)).astype(np.float32), "times": np.arange(3, dtype=np.float32)}
UPSTREAM = {"config": {}, "fingerprint": "u", "version": "v"}
ATTRIBUTES = {"schema": EMBEDDINGS.name, "modality": "visual", "config": {"views": 1}, "upstream": UPSTREAM}


def write(path: Path) -> Path:
    """Write embeddings of two clips with three tokens each."""
    rest = {
        "weights": {"name": "random", "sha256": "0"},
        "fingerprint": "f",
        "failures": {"x": "no"},
        "excluded": {},
        "absent": {},
    }
    with open_writer(path, like=TOKENS, attributes=ATTRIBUTES | rest) as file:
        for clip_id in ("a", "b"):
            file.append(clip_id, TOKENS, media_sha256=clip_id)
    return path


def write_faces(path: Path) -> Path:
    """Write the faces of two clips with two frames each."""
    values = to_columns(ClipFaces.empty())
    crops = Ragged.join([np.arange(5, dtype=np.uint8), np.arange(7, dtype=np.uint8)])
    clip = {name: np.ones((2, *it.shape[1:]), it.dtype) for name, it in values.items() if not name.startswith("crops")}
    clip |= {"crops": crops.flat, "crops_lengths": crops.lengths}
    attributes = {"schema": FACES.name, "config": {}, "fingerprint": "f", "failures": {}, "excluded": {}, "absent": {}}
    with open_writer(path, like=values, attributes=attributes) as file:
        for clip_id in ("a", "b"):
            file.append(clip_id, clip, media_sha256=clip_id)
    return path


def read_everything(path: Path) -> str:
    """Return the whole content of a file."""
    reader = Reader[Any](path, schema=None)
    columns = {clip_id: {name: it.tolist() for name, it in reader.columns(clip_id).items()} for clip_id in reader}
    return repr([describe(path), reader.media_sha256, columns])


def replace(file: h5py.File, name: str, **options: Any) -> None:
    """Put a column of the same values, or those given as `data`, in the place of a column."""
    attributes, options = dict(file[name].attrs), {"data": file[name][:]} | options
    del file[name]
    file.create_dataset(name, **options).attrs.update(attributes)


def link_raw_bytes(file: h5py.File, name: str) -> None:
    del file[name]
    Path("secret").write_bytes(SECRET)
    file.create_dataset(name, (6,), np.float32, external=[("secret", 0, h5py.h5f.UNLIMITED)])


def link_virtually(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((6,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "secret", (6,))
    del file[name]
    file.create_virtual_dataset(name, layout)


def link(file: h5py.File, name: str, target: Any) -> None:
    del file[name]
    file[name] = target


def put_group(file: h5py.File) -> None:
    del file["times"]
    file.create_group("times")


def commit_type(file: h5py.File) -> None:
    file["kind"] = np.dtype("f4")
    replace(file, "times", dtype=file["kind"], **SUMMED)
    del file["kind"]


def rename_view(file: h5py.File) -> None:
    replace(file, "tokens")
    file.move("tokens", "view_2")


def add(file: h5py.File, name: str, value: Any) -> None:
    file[name] = value


def replace_offsets(file: h5py.File, values: list[int]) -> None:
    replace(file, "offsets", data=np.asarray(values, np.int64), **SUMMED)


def change_sum(file: h5py.File, **values: Any) -> None:
    del file["tokens"].attrs["sum"]
    file["tokens"].attrs.update(values)


def leave_chunks_out(file: h5py.File, name: str) -> None:
    """Declare a column of which the file holds no byte."""
    del file[name]
    file.create_dataset(name, (10**12,), np.float32, chunks=(1 << 16,), fletcher32=True)


PLAIN = {"chunks": (6,)}
SUMMED = {"fletcher32": True}
CRAFTED: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "raw bytes of another file": (lambda f: link_raw_bytes(f, "times"), "'times' is not stored in chunks of this file"),
    "virtual": (lambda f: link_virtually(f, "times"), "'times' is not stored in chunks of this file"),
    "soft link": (lambda f: link(f, "times", h5py.SoftLink("/tokens")), "'times' is a soft link"),
    "link to a file": (lambda f: link(f, "times", h5py.ExternalLink("o.h5", "t")), "'times' is a link to another file"),
    "one more link": (lambda f: add(f, "more", h5py.ExternalLink("/etc/passwd", "/")), "'more' is a link to another"),
    "group": (put_group, "'times' is not a dataset"),
    "group of itself": (lambda f: add(f, "loop", f["/"]), "'loop' is not a dataset"),
    "type": (lambda f: add(f, "kind", np.dtype("f4")), "'kind' is not a dataset"),
    "committed type": (commit_type, "'times' is not of the type float32"),
    "one more column": (lambda f: add(f, "labels", np.zeros(6)), "'labels' is not a column of fdan.embeddings/6"),
    "control characters": (lambda f: add(f, "\x1b[2J", np.zeros(6)), r"'\x1b[2J' is not a column"),
    "view out of order": (rename_view, "'view_2' is not a column"),
    "no column": (lambda f: f.pop("times"), "it has no 'times'"),
    "no clip ids": (lambda f: f.pop("clip_id"), "it has no 'clip_id'"),
    "gzip": (lambda f: replace(f, "times", compression="gzip"), "'times' has other filters than its checksum"),
    "gzipped tokens": (lambda f: replace(f, "tokens", compression="gzip"), "'tokens' has other filters than none"),
    "no checksum": (lambda f: replace(f, "times", **PLAIN), "'times' has other filters than its checksum"),
    "a second filter": (lambda f: replace(f, "times", shuffle=True, **SUMMED), "'times' has other filters"),
    "no sum": (lambda f: f["tokens"].attrs.pop("sum"), "'tokens' has no attribute `sum`"),
    "a sum of another type": (lambda f: change_sum(f, sum=1.5), "'tokens' has no attribute `sum`"),
    "an array of sums": (lambda f: change_sum(f, sum=np.zeros(2, np.uint64)), "'tokens' has no attribute `sum`"),
    "a column's attribute": (lambda f: f["times"].attrs.update(unit="s"), "'times' has attributes"),
    "contiguous": (lambda f: replace(f, "times"), "'times' is not stored in chunks"),
    "double": (lambda f: replace(f, "times", dtype="f8", **SUMMED), "'times' is not of the type float32"),
    "big-endian": (lambda f: replace(f, "times", dtype=">f4", **SUMMED), "'times' is not of the type float32"),
    "objects": (
        lambda f: replace(f, "times", data=np.asarray([f.ref] * 6, h5py.ref_dtype), dtype=h5py.ref_dtype),
        "'times' is not of the type float32",
    ),
    "strings of any length": (
        lambda f: replace(f, "clip_id", data=["a", "b"], dtype=h5py.string_dtype()),
        "'clip_id' is not of the type utf-8, of a fixed length",
    ),
    "integers as text": (lambda f: replace(f, "clip_id", data=[1, 2], **SUMMED), "not of the type utf-8"),
    "scalar": (lambda f: replace(f, "times", data=np.float32(1)), "'times' has the shape ()"),
    "one more dimension": (
        lambda f: replace(f, "times", data=np.zeros((6, 1), "f4"), **SUMMED),
        "'times' has the shape",
    ),
    "tokens of width 0": (lambda f: replace(f, "tokens", data=np.zeros((6, 0), "f4")), "'tokens' has the shape (6, 0)"),
    "huge chunks": (
        lambda f: replace(f, "times", maxshape=(None,), chunks=(1 << 23,), **SUMMED),
        "'times' has chunks of the shape (8388608,)",
    ),
    "chunks of half a row": (lambda f: replace(f, "tokens", chunks=(6, 2)), "'tokens' has chunks of the shape (6, 2)"),
    "more than the file holds": (lambda f: leave_chunks_out(f, "times"), "'times' claims 4000061280920 bytes"),
    "fewer rows": (lambda f: replace(f, "times", data=np.zeros(5, "f4"), **SUMMED), "'times' has 5 rows, not 6"),
    "more media": (
        lambda f: replace(f, "media_sha256", data=np.asarray([b"a"] * 3, h5py.string_dtype(length=1)), **SUMMED),
        "'media_sha256' has 3 rows, not 2",
    ),
    "a clip twice": (
        lambda f: replace(f, "clip_id", data=np.asarray([b"a"] * 2, h5py.string_dtype(length=1)), **SUMMED),
        "has two clips of one clip_id",
    ),
    "ids that are no text": (
        lambda f: replace(f, "clip_id", data=np.asarray([b"a", b"\xff"], h5py.string_dtype(length=1)), **SUMMED),
        "is damaged in 'clip_id'",
    ),
    "text attribute of any length": (lambda f: f.attrs.update(config="{}"), "its attribute 'config' is not one of"),
    "numeric attribute": (lambda f: f.attrs.update(config=1), "its attribute 'config' is not one of"),
    "one more attribute": (lambda f: f.attrs.update({"\x1b[2J": "1"}), r"its attribute '\x1b[2J' is not one of"),
    "no schema": (lambda f: f.attrs.pop("schema"), "has the schema '', not one of fdan.faces/6, "),
    "numeric schema": (lambda f: f.attrs.update(schema=1), "has the schema '', not one of"),
}
for text, offsets in {"ascend": [0, 5, 3], "first": [1, 3, 6], "negative": [0, -3, 6], "count": [0, 6]}.items():
    CRAFTED[f"offsets, {text}"] = (
        partial(replace_offsets, values=offsets),
        "'offsets' are not 3 offsets that ascend from 0",
    )
for name, last in {"beyond the end": 7, "overflowing": 2**63 - 1}.items():
    CRAFTED[f"offsets, {name}"] = (
        partial(replace_offsets, values=[0, 3, last]),
        f"has 6 rows, not {last}",
    )


@pytest.mark.parametrize("name", sorted(CRAFTED))
def test_what_a_file_of_clips_does_not_need_is_refused_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    craft, words = CRAFTED[name]
    with h5py.File(write(tmp_path / "visual.h5"), "r+", libver="latest") as file:
        craft(file)
    for read in (describe, read_everything):
        with pytest.raises(StoreError) as error:
            read(Path("visual.h5"))
        assert words in str(error.value)
        assert_one_line(str(error.value))
        assert "visual.h5" in str(error.value)


def test_offsets_of_ragged_columns_are_checked(tmp_path: Path) -> None:
    for values, words in (
        ([0, 5, 12, 17, 25], "'crops' has 24 rows, not 25"),
        ([0, 5, 4, 17, 24], "'crops_offsets' are not 5 offsets that ascend"),
        ([0, 5, 24], "'crops_offsets' are not 5 offsets"),
    ):
        with h5py.File(write_faces(tmp_path / "faces.h5"), "r+") as file:
            replace(file, "crops_offsets", data=np.asarray(values, np.int64), **SUMMED)
        with pytest.raises(StoreError, match=words):
            describe(tmp_path / "faces.h5")


ODD_ATTRIBUTES: dict[str, tuple[dict[str, Any], str]] = {
    "no JSON": ({"config": "{"}, "config = "),
    "a list": ({"config": "[1]"}, "config"),
    "deep": ({"failures": '{"a":' * 10**5}, "failures"),
    "failures of numbers": ({"failures": '{"a": 1}'}, "failures.a"),
    "weights without a sha256": ({"weights": '{"name": "x"}'}, "weights.sha256 is missing"),
    "weights with more": ({"weights": '{"name": "x", "sha256": "", "path": "/etc"}'}, "path"),
    "upstream": ({"upstream": '{"config": {}, "fingerprint": "f", "version": []}'}, "upstream.version"),
    "modality": ({"modality": "smell"}, "modality = 'smell'"),
}


@pytest.mark.parametrize("name", sorted(ODD_ATTRIBUTES))
def test_attributes_are_checked(name: str, tmp_path: Path) -> None:
    changes, words = ODD_ATTRIBUTES[name]
    path = tmp_path / "visual.h5"
    with open_writer(path, like=TOKENS, attributes={**ATTRIBUTES, **changes}):
        pass
    with pytest.raises(StoreError, match=rf"visual.h5 is damaged in 'attributes' .*{words}") as error:
        describe(path)
    assert_one_line(str(error.value))


def test_a_missing_attribute_is_named(tmp_path: Path) -> None:
    with open_writer(tmp_path / "{odd}.h5", like=TOKENS, attributes=ATTRIBUTES):
        pass
    attributes = Reader(tmp_path / "{odd}.h5", schema=EMBEDDINGS).attributes
    assert attributes["upstream"] == UPSTREAM
    with pytest.raises(StoreError, match=r"{odd}.h5 has no attribute 'weights'"):
        attributes["weights"]


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "visual.h5")
    for path in (tmp_path / "visual.h5", Path("/dev/zero"), tmp_path):
        with pytest.raises(StoreError, match=rf"^{path} is damaged or not an HDF5 file \(no regular file\)"):
            describe(path)
    for name in ("x" * 300, "x\0"):
        with pytest.raises(StoreError):
            describe(tmp_path / name)


def test_a_user_block_and_a_family_of_files_are_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "visual.h5").read_bytes()
    (tmp_path / "visual.h5").write_bytes(b"\x7fELF".ljust(512, b"\0") + whole)
    with h5py.File(tmp_path / "part%d.h5", "w", driver="family", memb_size=1 << 16) as file:
        file["times"] = np.zeros(6)
    for name in ("visual.h5", "part0.h5", "part%d.h5"):
        with pytest.raises(StoreError) as error:
            describe(tmp_path / name)
        assert_one_line(str(error.value))


def test_a_file_that_is_replaced_keeps_its_content_for_its_readers(tmp_path: Path) -> None:
    path = write(tmp_path / "visual.h5")
    reader = Reader(path, schema=EMBEDDINGS)
    assert list(reader) == ["a", "b"]
    with open_writer(path, like=TOKENS, attributes=ATTRIBUTES) as file:
        file.append("c", {name: -value for name, value in TOKENS.items()})
    np.testing.assert_array_equal(reader["b"].tokens, TOKENS["tokens"])
    assert list(Reader(path, schema=EMBEDDINGS)) == ["c"]


@pytest.mark.parametrize("make", [write, write_faces])
def test_a_mutated_file_is_refused_in_one_line_or_reads_the_same(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "TOKENS_CHUNK_BYTES", 64)
    monkeypatch.setattr(writer, "CHUNK_BYTES", 64)
    path = make(tmp_path / "store.h5")
    whole, expected = path.read_bytes(), read_everything(path)
    draw, refused = random.Random(0), 0
    for _ in range(300):
        path.unlink()  # a new file: HDF5 would read an open one from its cache
        path.write_bytes(mutate(whole, draw))
        try:
            assert read_everything(path).split("bytes, intact")[1] == expected.split("bytes, intact")[1]
        except PipelineError as error:
            assert_one_line(str(error))
            refused += 1
    assert refused > 100
