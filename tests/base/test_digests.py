"""Digests: right, remembered, and never those of a file that has changed."""

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
    """The files that are really read, as they are."""
    found: list[Path] = []

    def counting(path: Path) -> str:
        found.append(path)
        return file_sha256(path)

    monkeypatch.setattr(module, "file_digest", counting)
    return found


def written(path: Path, content: bytes, *, age_s: float = 60) -> Path:
    path.write_bytes(content)
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_digests_are_right_in_order_and_a_second_time_nothing_is_read(tmp_path: Path, reads: list[Path]) -> None:
    paths = [written(tmp_path / f"{n}", b"x" * n) for n in range(50)]
    expected = [sha256(b"x" * n) for n in range(50)]
    assert list(cached_sha256(paths)) == expected
    assert len(reads) == 50
    assert list(cached_sha256(paths[::-1])) == expected[::-1]
    assert len(reads) == 50


def test_a_file_of_another_size_or_time_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    path = written(tmp_path / "a", b"one")
    assert list(cached_sha256([path])) == [sha256(b"one")]
    written(path, b"other")
    assert list(cached_sha256([path])) == [sha256(b"other")]
    written(path, b"OTHER", age_s=30)
    assert list(cached_sha256([path])) == [sha256(b"OTHER")]
    assert len(reads) == 3


def test_a_change_that_keeps_size_and_time_is_seen_by_the_inodes_own_clock(tmp_path: Path) -> None:
    path = written(tmp_path / "a", b"one")
    assert list(cached_sha256([path])) == [sha256(b"one")]
    known = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert list(cached_sha256([path])) == [sha256(b"two")]


def test_what_has_only_just_changed_is_not_remembered(tmp_path: Path, reads: list[Path]) -> None:
    path = written(tmp_path / "a", b"one", age_s=0)
    assert list(cached_sha256([path])) == list(cached_sha256([path])) == [sha256(b"one")]
    assert len(reads) == 2


def test_a_run_that_is_stopped_keeps_what_it_has(tmp_path: Path, reads: list[Path]) -> None:
    paths = [written(tmp_path / f"{n}", b"%d" % n) for n in range(3)]
    found = cached_sha256(paths)
    next(found)
    next(found)
    found.close()
    reads.clear()
    list(cached_sha256(paths))
    assert {path.name for path in reads} == {"2"}


def test_a_spoiled_memory_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDAN_CACHE", str(tmp_path))
    (tmp_path / "digests.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(PipelineError, match=r"cannot keep digests in .*digests\.sqlite: .*; name another folder"):
        list(cached_sha256([written(tmp_path / "a", b"x")]))
