"""Atomic writes, checksums, and the location of the cache folder."""

import hashlib
from pathlib import Path

import pytest

from pipeline.base.files import atomic_write, cache_folder, file_sha256, write_text


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
