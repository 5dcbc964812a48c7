"""The checksum cache: digests are correct, cached, and recomputed when a file changes."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from pipeline.base import digests as module
from pipeline.base.digests import cached_sha256
from pipeline.base.errors import PipelineError
from pipeline.base.files import file_sha256


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A list that records every file that is read."""
    paths: list[Path] = []

    def record(path: Path) -> str:
        paths.append(path)
        return file_sha256(path)

    monkeypatch.setattr(module, "file_sha256", record)
    return paths


def write_file(path: Path, content: bytes, *, age_s: float = 60) -> Path:
    path.write_bytes(content)
    modified_s = time.time() - age_s
    os.utime(path, (modified_s, modified_s))
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_digests_come_in_order_and_a_second_run_reads_no_file(tmp_path: Path, reads: list[Path]) -> None:
    paths = [write_file(tmp_path / f"{n}", b"x" * n) for n in range(50)]
    expected = [sha256(b"x" * n) for n in range(50)]
    assert list(cached_sha256(paths)) == expected
    assert len(reads) == 50
    assert list(cached_sha256(paths[::-1])) == expected[::-1]
    assert len(reads) == 50


def test_file_with_changed_size_or_time_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    path = write_file(tmp_path / "a", b"one")
    assert list(cached_sha256([path])) == [sha256(b"one")]
    write_file(path, b"other")
    assert list(cached_sha256([path])) == [sha256(b"other")]
    write_file(path, b"OTHER", age_s=30)
    assert list(cached_sha256([path])) == [sha256(b"OTHER")]
    assert len(reads) == 3


def test_change_that_keeps_size_and_modification_time_is_detected(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a", b"one")
    assert list(cached_sha256([path])) == [sha256(b"one")]
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list(cached_sha256([path])) == [sha256(b"two")]


def test_file_that_has_just_changed_is_not_cached(tmp_path: Path, reads: list[Path]) -> None:
    path = write_file(tmp_path / "a", b"one", age_s=0)
    assert list(cached_sha256([path])) == list(cached_sha256([path])) == [sha256(b"one")]
    assert len(reads) == 2


def test_stopped_run_keeps_its_digests(tmp_path: Path, reads: list[Path]) -> None:
    paths = [write_file(tmp_path / f"{n}", b"%d" % n) for n in range(3)]
    digests = cached_sha256(paths)
    next(digests)
    next(digests)
    digests.close()
    reads.clear()
    list(cached_sha256(paths))
    assert {path.name for path in reads} == {"2"}


def test_damaged_cache_is_an_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDAN_CACHE", str(tmp_path))
    (tmp_path / "digests.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(PipelineError, match=r"cannot use the checksum cache .*digests\.sqlite: .*; delete the file"):
        list(cached_sha256([write_file(tmp_path / "a", b"x")]))
