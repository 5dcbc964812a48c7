"""The memo: results are read back exactly, damaged entries are ignored, and every ingredient changes the key."""

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.base.errors import PipelineError
from pipeline.base.files import atomic_write
from pipeline.cli.main import app
from pipeline.memo.entries import DAY_S, PAUSE_S, Entry, Memo, entries_to_prune, seconds_per_result
from pipeline.memo.extraction import Step

RESULT = {"tokens": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.empty((0, 4), np.float32)}


def test_result_is_read_back_exactly(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    memo.write("step", "a" * 64, RESULT)
    result = memo.read("step", "a" * 64)
    assert result is not None
    for name, value in RESULT.items():
        np.testing.assert_array_equal(result[name], value)
        assert result[name].dtype == value.dtype
    assert memo.read("step", "b" * 64) is None
    assert memo.read("other", "a" * 64) is None


def damage(content: bytes, kind: str) -> bytes:
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return {"flipped": flipped, "cut": content[:-1], "emptied": b"", "lengthened": content + b"\0"}[kind]


@pytest.mark.parametrize("kind", ["flipped", "cut", "emptied", "lengthened"])
def test_damaged_entry_counts_as_missing_and_is_replaced(tmp_path: Path, kind: str) -> None:
    memo = Memo(tmp_path)
    memo.write("step", "a" * 64, RESULT)
    path = memo.path("step", "a" * 64)
    path.write_bytes(damage(path.read_bytes(), kind))
    assert memo.read("step", "a" * 64) is None
    memo.write("step", "a" * 64, RESULT)
    assert memo.read("step", "a" * 64) is not None


def test_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = Memo(tmp_path)

    def fail(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PipelineError, match=r"cannot write to the memo .*No space left.*FDAN_CACHE"):
        memo.write("step", "a" * 64, RESULT)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_read_only_folder_is_a_one_line_error() -> None:
    memo = Memo(Path("/sys/fdan"))
    assert memo.read("step", "a" * 64) is None
    with pytest.raises(PipelineError, match=r"to the memo /sys/fdan: (Read-only|Operation not|Permission)"):
        memo.write("step", "a" * 64, RESULT)


def test_file_in_place_of_the_folder_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memo = Memo(tmp_path / "file")
    with pytest.raises(PipelineError, match=r"cannot read the memo .*Not a directory; .*FDAN_CACHE"):
        memo.read("step", "a" * 64)
    with pytest.raises(PipelineError, match=r"cannot write to the memo .*FDAN_CACHE"):
        memo.write("step", "a" * 64, RESULT)


def double(argument: int) -> dict[str, np.ndarray]:
    return {"value": np.asarray([2 * argument])}


def test_every_ingredient_changes_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Step("a", double, double, params={"x": 1}, libraries=("numpy",), hardware="x86_64")
    changed = [
        replace(plain, name="b"),
        replace(plain, code=atomic_write),
        replace(plain, params={"x": 2}),
        replace(plain, libraries=("numpy", "scipy")),
        replace(plain, plugin=double),
        replace(plain, weights=lambda: "0123"),
        replace(plain, upstream="4567"),
        replace(plain, hardware="arm64"),
    ]
    fingerprints = {step.fingerprint for step in [plain, replace(plain), *changed]}
    assert len(fingerprints) == 1 + len(changed)
    monkeypatch.setattr("pipeline.memo.extraction.library_versions", lambda *_: {"numpy": "0.0"})
    assert replace(plain).fingerprint not in fingerprints


def test_unreadable_or_undeletable_memo_is_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDAN_CACHE", str(tmp_path))
    memo = Memo()
    memo.write("step", "a" * 64, RESULT)
    fails = {"iterdir": r"error: cannot read the memo .*Permission denied", "unlink": "error: cannot prune the memo"}
    for name, words in fails.items():
        with monkeypatch.context() as patched:
            patched.setattr(Path, name, deny)
            result = CliRunner().invoke(app, ["memo", "--max-size", "0KB", "--yes"])
        assert result.exit_code == 1
        assert re.search(words, " ".join(result.output.split()))


def deny(*_: object, **__: object) -> None:
    raise PermissionError(13, os.strerror(13))


def fill_memo(memo: Memo, *, now_s: float) -> None:
    """Write entries of 1000 numbers, 1 to 5 days old, in two steps."""
    for days in range(1, 6):
        step = "faces" if days < 4 else "probe"
        memo.write(step, f"{days:064}", {"x": np.zeros(1000, np.float32)})
        os.utime(memo.path(step, f"{days:064}"), (now_s - days * DAY_S,) * 2)


@pytest.mark.parametrize(
    ("older_than_days", "entries_left", "expected"),
    [(None, None, []), (3.5, None, [5, 4]), (None, 2, [5, 4, 3]), (4.5, 3, [5, 4]), (0.5, None, [5, 4, 3, 2, 1])],
)
def test_pruning_takes_old_entries_then_the_oldest_until_the_rest_fits(
    tmp_path: Path, older_than_days: float | None, entries_left: int | None, expected: list[int]
) -> None:
    memo, now_s = Memo(tmp_path), 1e9
    fill_memo(memo, now_s=now_s)
    entries = memo.entries()
    size = entries[0].size_bytes
    assert [entry.step for entry in entries] == ["probe", "probe", "faces", "faces", "faces"]
    pruned = entries_to_prune(
        entries,
        now_s=now_s,
        older_than_s=None if older_than_days is None else older_than_days * DAY_S,
        max_bytes=None if entries_left is None else entries_left * size + 10,
    )
    assert [int(entry.path.stem) for entry in pruned] == expected


def test_temporary_files_of_killed_processes_are_pruned_after_a_day(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    memo.write("faces", "a" * 64, {"x": np.zeros(3)})
    for name, age_s in (("young", 3600), ("old", 2 * DAY_S)):
        path = tmp_path / "faces" / "aa" / f".{name}.entry"
        path.touch()
        os.utime(path, (1e9 - age_s,) * 2)
    os.utime(memo.path("faces", "a" * 64), (1e9, 1e9))
    pruned = entries_to_prune(memo.entries(), now_s=1e9, older_than_s=None, max_bytes=None)
    assert [entry.path.name for entry in pruned] == [".old.entry"]
    everything = entries_to_prune(memo.entries(), now_s=1e9, older_than_s=None, max_bytes=0)
    assert [entry.path.name for entry in everything] == [".old.entry", f"{'a' * 64}.entry"]


def test_clock_that_was_wrong_costs_no_result_and_keeps_no_temporary_file(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    for name, written_s in (("a", 1e9), ("b", 2e9)):  # the clock was ahead when the second was written
        for path in (memo.path("faces", name * 64), tmp_path / "faces" / (2 * name) / f".{name}.entry"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (written_s, written_s))
    for now_s, temporary in ((1e9, [".b.entry"]), (0, [".a.entry", ".b.entry"])):
        pruned = entries_to_prune(memo.entries(), now_s=now_s, older_than_s=DAY_S, max_bytes=None)
        assert [entry.path.name for entry in pruned] == temporary


def fdan_memo(*arguments: str) -> tuple[int, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["memo", *arguments])
    return result.exit_code, result.output


def test_command_shows_the_steps_and_deletes_only_with_yes() -> None:
    memo = Memo()
    fill_memo(memo, now_s=time.time())
    status, output = fdan_memo()
    assert status == 0
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in output.splitlines() if "│" in line]
    assert rows == [["faces", "3"], ["probe", "2"], ["all", "5"]]
    _, output = fdan_memo("--older-than", "84h")
    assert "Nothing was deleted; add --yes to delete the 2 entries." in output
    assert len(memo.entries()) == 5
    _, output = fdan_memo("--older-than", "84h", "--yes")
    assert "2 entries deleted" in output
    assert {entry.step for entry in memo.entries()} == {"faces"}
    fdan_memo("--max-size", "0KB", "--yes")
    assert memo.entries() == []


@pytest.mark.parametrize("arguments", [("--older-than", "30"), ("--max-size", "many"), ("--max-size", "-1GB")])
def test_limit_without_a_unit_is_a_one_line_error(arguments: tuple[str, str]) -> None:
    status, output = fdan_memo(*arguments)
    assert status == 1
    assert output.startswith(f"error: {arguments[1]!r} is not a number with a unit ")


def test_rate_of_a_step_is_measured_without_pauses_and_other_steps() -> None:
    def entry(step: str, written_s: float, name: str = "a.entry") -> Entry:
        return Entry(Path(step, name), step, 1, written_s)

    assert seconds_per_result([], "faces") is None
    assert seconds_per_result([entry("faces", 5)], "faces") is None
    assert seconds_per_result([entry("faces", 5), entry("faces", 5 + PAUSE_S)], "faces") is None
    entries = [entry("faces", 0), entry("faces", 2), entry("faces", 5000), entry("embed", 5001), entry("faces", 5004)]
    assert seconds_per_result(entries, "faces") == 3  # of 2 s before the pause and 4 s after it
    assert seconds_per_result([*entries, entry("faces", 5005, ".b.entry")], "faces") == 3  # a temporary file
