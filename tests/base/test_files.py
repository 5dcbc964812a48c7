"""Atomic writes, checksums, and the location of the cache folder."""

import errno
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from safetensors.numpy import save

from pipeline.base.digests import cached_sha256
from pipeline.base.errors import DISK_FULL, PipelineError, StoreError, exit_with_message
from pipeline.base.files import atomic_write, cache_folder, file_sha256, open_regular, read_file, write_text
from pipeline.drawing import figure as drawing


def test_file_appears_once_complete_and_missing_folders_are_created(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "table.csv"
    with atomic_write(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert (temporary.parent, temporary.suffix) == (target.parent, ".csv")
    assert target.read_text() == "half"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("before", [None, "old"])
def test_failed_write_leaves_the_old_file(tmp_path: Path, before: str | None) -> None:
    target = tmp_path / "table.csv"
    if before is not None:
        target.write_text(before)
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [path.read_text() for path in tmp_path.iterdir()] == ([] if before is None else [before])


def test_two_writers_of_one_file_do_not_interfere(tmp_path: Path) -> None:
    target = tmp_path / "entry"
    with atomic_write(target) as first, atomic_write(target) as second:
        first.write_text("first")
        second.write_text("second")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["first"]  # the last to end


def test_text_is_utf8_and_keeps_its_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "é\n×\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\n\xc3\x97\n"


def test_sha256_is_that_of_the_concatenated_files(tmp_path: Path) -> None:
    contents = [b"a" * (1 << 20) + b"b", b"", b"c"]
    paths = [tmp_path / str(number) for number in range(3)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    assert file_sha256(*paths) == hashlib.sha256(b"".join(contents)).hexdigest()


def test_environment_variable_sets_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDAN_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere"
    monkeypatch.setenv("FDAN_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().name == "fdan"
    assert cache_folder() != Path()


def test_cache_that_is_a_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("FDAN_CACHE", str(tmp_path / "file"))
    with pytest.raises(PipelineError, match=r"the cache .*file is not a folder; set FDAN_CACHE to one$"):
        cache_folder()
    for wrong, words in ((tmp_path / "file/below", "Not a directory"), (tmp_path / ("x" * 300), "File name too long")):
        monkeypatch.setenv("FDAN_CACHE", str(wrong))
        with pytest.raises(PipelineError, match=f"cannot use the cache .*: {words}; set FDAN_CACHE to another folder$"):
            list(cached_sha256([tmp_path / "file"]))


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(path)
        with pytest.raises(OSError, match="not a regular file"):
            file_sha256(path)
        with pytest.raises(PipelineError, match=f"{path} cannot be read: not a regular file"):
            list(cached_sha256([path]))


def test_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", raises=StoreError, fix="", max_bytes=5) == b"12345"
    with pytest.raises(StoreError, match=r"a is larger than 4 bytes; cut it$"):
        read_file(tmp_path / "a", raises=StoreError, fix="cut it", max_bytes=4)


def _draw(path: Path) -> None:
    drawing.save(Figure(), path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("x"),
        lambda path: Image.new("RGB", (64, 64)).save(path, "PNG"),
        lambda path: path.write_bytes(save({"a": np.zeros(9)})),
        lambda path: Figure().savefig(path, format="svg"),
    ],
)
def test_full_disk_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=0))
    (tmp_path / f".{uuid.UUID(int=0).hex}.a.csv").symlink_to("/dev/full")
    full = pytest.raises(SystemExit, match=r"/a\.csv cannot be written: No space left on device")
    with full, exit_with_message(), atomic_write(tmp_path / "a.csv") as temporary:
        write(temporary)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_at_the_last_moment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    for write in (lambda path: write_text(path, "x"), _draw):
        with (
            pytest.raises(SystemExit, match=r"/a\.csv cannot be written: No space left on device"),
            exit_with_message(),
        ):
            write(tmp_path / "a.csv")


def test_other_errors_keep_their_file(tmp_path: Path) -> None:
    for number in (errno.EACCES, *DISK_FULL):
        with pytest.raises(OSError) as error, atomic_write(tmp_path / "a.csv"):
            raise OSError(number, "reason", "another")
        assert error.value.filename == "another"


def test_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".json")
    write_text(path, "x")
    assert path.read_text() == "x"
