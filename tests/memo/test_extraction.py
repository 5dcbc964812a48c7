"""Mapping a step over clips: each clip is computed once, failures are named, workers do not change the file."""

import errno
import hashlib
import io
import itertools
import os
import re
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client
from rich.console import Console
from rich.text import Text

from pipeline.base.errors import (
    AbsentModalityError,
    ClipError,
    ExcludedClipError,
    ParameterError,
    PipelineError,
    StoreError,
)
from pipeline.base.processes import ONE_THREAD
from pipeline.memo.entries import Memo
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool, bounded_map
from pipeline.parallel.progress import progress_bar
from pipeline.store.reader import Reader
from pipeline.store.schemas import EMBEDDINGS

pytestmark = pytest.mark.slow

ATTRIBUTES = {"schema": EMBEDDINGS.name}
SYNCHRONOUS = Pool(ExecutionConfig(scheduler="synchronous"))
EMPTY = {"tokens": np.empty((0, 2), np.float32), "times": np.empty(0, np.float32)}


def compute(number: int, log: Path) -> dict[str, np.ndarray]:
    """Return `number` rows; leave a line in the log each time it runs, in whatever process."""
    with log.open("a") as file:
        file.write(f"{number}\n")
    if number == 13:
        raise ClipError("is unlucky")
    if number == 77:
        raise ExcludedClipError("shows nobody ä")
    if number == 78:
        raise AbsentModalityError("is silent ä")
    if number in ODD:
        raise ODD[number]()
    if number == 50:
        raise ParameterError("kind = [x]: unknown")
    if number == 51:
        raise OSError(errno.ENOSPC, "No space left on device")
    if number == 60:
        time.sleep(20)
    if number == 99:
        os._exit(1)  # what a crash in a codec does to its process
    values = np.full((number, 2), number, np.float32)
    return {"tokens": values, "times": np.arange(number, dtype=np.float32)}


def jobs(numbers: list[int]) -> list[ClipJob]:
    return [ClipJob(f"clip{number:02}", str(number), partial(int, number)) for number in numbers]


def extract_to(folder: Path, numbers: list[int], **run: Any) -> tuple[ExtractionSummary, str]:
    """Write `folder/out.h5`; return the summary and the file's md5."""
    with Pool(ExecutionConfig(**({"scheduler": "synchronous", "max_failures": 0.5} | run))) as pool:
        summary = extract_to_file(
            folder / "out.h5", jobs(numbers), counting_step(folder), like=EMPTY, attributes=ATTRIBUTES, pool=pool
        )
    return summary, hashlib.md5((folder / "out.h5").read_bytes()).hexdigest()


def counting_step(folder: Path) -> Step:
    """Return a step that calls `compute` and logs to `folder/log`."""
    logging_compute = partial(compute, log=folder / "log")
    return Step("double", logging_compute, compute, params={}, libraries=("numpy",), hardware="any")


def pop_computed(folder: Path) -> list[int]:
    """Return the sorted numbers in the log, and delete the log."""
    lines = (folder / "log").read_text().splitlines()
    (folder / "log").unlink()
    return sorted(map(int, lines))


def test_second_run_computes_nothing(tmp_path: Path) -> None:
    summary, first = extract_to(tmp_path, [1, 2, 3])
    assert (summary.computed, summary.from_memo, pop_computed(tmp_path)) == (3, 0, [1, 2, 3])
    summary, second = extract_to(tmp_path, [1, 2, 3])
    assert (summary.computed, summary.from_memo) == (0, 3)
    assert not (tmp_path / "log").exists()
    assert first == second


def test_new_clip_costs_one_computation_and_removed_clip_costs_none(tmp_path: Path) -> None:
    extract_to(tmp_path, [1, 2, 4])
    pop_computed(tmp_path)
    extract_to(tmp_path, [1, 2, 3, 4])
    assert pop_computed(tmp_path) == [3]
    extract_to(tmp_path, [1, 4])
    assert not (tmp_path / "log").exists()
    assert list(Reader[Any](tmp_path / "out.h5", schema=None)) == ["clip01", "clip04"]


def test_excluded_and_absent_clips_are_computed_once_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summaries = [extract_to(tmp_path, [1, 77, 78])[0] for _ in range(2)]
    assert [summary.excluded for summary in summaries] == [{"clip77": "shows nobody ä"}] * 2
    assert [summary.absent for summary in summaries] == [{"clip78": "is silent ä"}] * 2
    assert [summary.failures for summary in summaries] == [{}] * 2
    assert pop_computed(tmp_path) == [1, 77, 78]
    reader = Reader[Any](tmp_path / "out.h5", schema=None)
    assert list(reader) == ["clip01"]
    assert (reader.attributes["absent"], reader.attributes["failures"]) == ({"clip78": "is silent ä"}, {})
    assert "clip78: is silent ä" in capsys.readouterr().err


def test_clip_with_changed_bytes_is_computed_again(tmp_path: Path) -> None:
    for number in (2, 3, 2):
        job = ClipJob("clip", f"content {number}", partial(int, number))
        extract_to_file(
            tmp_path / "out.h5", [job], counting_step(tmp_path), like=EMPTY, attributes=ATTRIBUTES, pool=SYNCHRONOUS
        )
        assert len(Reader[Any](tmp_path / "out.h5", schema=None).columns("clip")["tokens"]) == number
    assert pop_computed(tmp_path) == [2, 3]


def test_damaged_memo_entry_is_computed_again_with_the_same_result(tmp_path: Path) -> None:
    _, first = extract_to(tmp_path, [1, 2, 3])
    pop_computed(tmp_path)
    entry = sorted(Memo().folder.rglob("*.entry"))[0]
    entry.write_bytes(entry.read_bytes()[:-4])
    _, second = extract_to(tmp_path, [1, 2, 3])
    assert len(pop_computed(tmp_path)) == 1
    assert first == second


def test_failed_clip_is_reported_with_its_reason_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary, _ = extract_to(tmp_path, [1, 13, 2, 77])
    assert summary.failures == {"clip13": "is unlucky"}
    *_, row, _, failed, excluded = capsys.readouterr().err.splitlines()
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["double", "3", "0", "0", "1", "1"]
    assert (failed, excluded) == ("clip13: is unlucky", "clip77: shows nobody ä")
    reader = Reader[Any](tmp_path / "out.h5", schema=None)
    assert reader.media_sha256 == {"clip01": "1", "clip02": "2"}
    assert reader.attributes["failures"] == {"clip13": "is unlucky"}


def test_clips_are_named_in_full_in_a_log_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "corpus/speaker/a name that is longer than the column of a table, and [b]in brackets[/b].mp4"
    job = ClipJob(name, "0", partial(int, 78))
    extract_to_file(
        tmp_path / "out.h5", [job], counting_step(tmp_path), like=EMPTY, attributes=ATTRIBUTES, pool=SYNCHRONOUS
    )
    assert f"\n{name}: is silent ä\n" in capsys.readouterr().err


def test_result_is_discarded_if_the_media_change_during_the_run(tmp_path: Path) -> None:
    job = ClipJob("clip", "content", partial(int, 2), lambda: False)
    with pytest.raises(PipelineError, match="the media of clip changed during the run; run: dvc repro"):
        extract_to_file(
            tmp_path / "out.h5", [job], counting_step(tmp_path), like=EMPTY, attributes=ATTRIBUTES, pool=SYNCHRONOUS
        )
    assert not list(Memo().folder.rglob("*.entry"))


def test_too_many_failures_raise_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"1 of 2 clips failed, more than run.max_failures = 10%.*is unlucky"):
        extract_to(tmp_path, [13, 2], max_failures=0.1)
    assert not (tmp_path / "out.h5").exists()


class OddError(Exception):
    """Can be sent to no other process, and has no text."""

    def __init__(self, number: int) -> None:
        super().__init__(number, threading.Lock())

    def __str__(self) -> str:
        raise RuntimeError


ODD: dict[int, Callable[[], BaseException]] = {
    40: lambda: UnicodeDecodeError("utf-8", b"Jos\xe9", 3, 4, "unexpected end of data"),
    41: MemoryError,
    42: lambda: OddError(42),
    43: lambda: ValueError("\x1b[2J[bold]math\ndomain error"),
    44: lambda: SystemExit(1),
    45: lambda: CancelledError("by a plugin"),
    46: lambda: ConnectionResetError("by a mount"),
}
REASONS = [
    "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe9 in position 3: unexpected end of data",
    "MemoryError",
    "OddError",
    r"ValueError: \x1b[2J[bold]math domain error",
    "SystemExit: 1",
    "CancelledError: by a plugin",
    "ConnectionResetError: by a mount",
]


def test_whatever_exception_a_clip_causes_is_its_row_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = set()
    for scheduler in ("synchronous", "processes"):
        monkeypatch.setenv("FDAN_CACHE", str(tmp_path / scheduler))
        summary, file = extract_to(tmp_path, [1, *ODD, 2, 3], scheduler=scheduler, workers=1, max_failures=0.7)
        files.add(file)
        assert list(summary.failures.values()) == REASONS
        assert (summary.computed, summary.unexpected) == (3, len(ODD))
    assert len(files) == 1
    shown = capfd.readouterr().err
    assert r"clip43: ValueError: \x1b[2J[bold]math domain error" in shown
    assert "\x1b[2J" not in shown
    assert "Traceback" not in shown
    # The next run computes nothing but the odd clips again, and they do not stop it.
    summary, _ = extract_to(tmp_path, [1, *ODD, 2, 3], max_failures=0.7)
    assert (summary.from_memo, summary.unexpected) == (3, len(ODD))


def test_clip_that_cannot_be_loaded_is_a_row(tmp_path: Path) -> None:
    def load() -> int:
        raise OSError("the mount is gone")

    with Pool(ExecutionConfig(scheduler="synchronous", max_failures=0.5)) as pool:
        summary = extract_to_file(
            tmp_path / "out.h5",
            [*jobs([1]), ClipJob("odd", "odd", load)],
            counting_step(tmp_path),
            like=EMPTY,
            attributes=ATTRIBUTES,
            pool=pool,
        )
    assert summary.failures == {"odd": "OSError: the mount is gone"}


@pytest.mark.parametrize(
    ("numbers", "max_failures", "last", "computed"),
    [
        ([40, 41, 42, 1, 2, 3], 1, "clip42", 3),  # each of the first three
        ([40, 13, 41, 42, 1, 2], 1, "", 6),  # the code has refused one as it should
        ([40, 41], 1, "clip41", 2),  # all
        ([1, *range(40, 47), *range(2, 12)], 0.1, "clip41", 3),  # 2 of 18 are more than a tenth: the rest is left
        ([1, *range(40, 47), *range(2, 12)], 0.4, "", 18),
    ],
)
def test_exceptions_on_the_first_clips_or_on_too_many_stop_the_run_with_the_traceback(
    tmp_path: Path, numbers: list[int], max_failures: float, last: str, computed: int
) -> None:
    if last:
        with pytest.raises((MemoryError, OddError)) as error:
            extract_to(tmp_path, numbers, max_failures=max_failures)
        shown = "".join(traceback.format_exception(error.value))
        assert "raise ODD[number]()" in shown
        assert f"{last} caused this in double." in shown
    else:
        extract_to(tmp_path, numbers, max_failures=max_failures)
    assert len(pop_computed(tmp_path)) == computed


@pytest.mark.parametrize(("number", "error"), [(50, ParameterError), (51, StoreError)])
def test_fault_of_the_parameters_or_of_the_disk_stops_the_run_at_once(
    tmp_path: Path, number: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        extract_to(tmp_path, [1, number, 2], max_failures=1)
    assert pop_computed(tmp_path) == [1, number]


def test_quiet_extraction_of_an_odd_clip_gives_a_row(tmp_path: Path) -> None:
    summary = ExtractionSummary("double", 1)
    assert list(extract(jobs([41]), counting_step(tmp_path), summary, pool=SYNCHRONOUS, quiet=True)) == []
    assert summary.failures == {"clip41": "MemoryError"}


def test_clip_that_takes_too_long_is_a_row(tmp_path: Path) -> None:
    summary, _ = extract_to(tmp_path, [1, 60, 2], clip_timeout_s=0.1)
    assert summary.failures == {"clip60": "took longer than run.clip_timeout_s = 0.1 s"}
    assert summary.computed == 2


def test_control_characters_and_markup_of_an_id_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = ExtractionSummary("probe [red]x", 2)
    odd = [ClipJob("\x1b]0;title\x07[/red]", "13", partial(int, 13)), *jobs([1])]
    with Pool(ExecutionConfig(scheduler="synchronous", max_failures=0.5)) as pool:
        list(extract(odd, counting_step(tmp_path), summary, pool=pool))
    shown = capsys.readouterr().err
    assert r"\x1b]0;title\x07[/red]: is unlucky" in shown
    assert "probe [red]x" in shown
    assert "\x1b]0" not in shown


def test_number_of_workers_does_not_change_the_file_and_a_dead_worker_costs_one_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    numbers = [1, 5, 13, 2, 8, 3]
    files = []
    for name, run in {"none": {}, "one": {"workers": 1}, "two": {"workers": 2}}.items():
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv("FDAN_CACHE", str(folder / "cache"))
        files.append(extract_to(folder, numbers, **({"scheduler": "processes", **run} if run else {}))[1])
        assert pop_computed(folder) == sorted(numbers)
    assert len(set(files)) == 1
    summary, _ = extract_to(tmp_path / "two", [*numbers, 99, 4], scheduler="processes", workers=2)
    assert sorted(summary.failures) == ["clip13", "clip99"]
    # A reason that differs from run to run, such as one with a port, would change the file.
    assert summary.failures["clip99"] == "its process died each time it was tried; out of memory?"
    assert pop_computed(tmp_path / "two").count(99) == 2
    assert list(Reader[Any](tmp_path / "two" / "out.h5", schema=None))[-1] == "clip04"
    assert "Traceback" not in capfd.readouterr().err  # of a worker: the table reports the reason instead


def test_bounded_map_starts_a_bounded_number_of_jobs_and_keeps_their_order() -> None:
    started: list[int] = []

    def start(job: int) -> int:
        started.append(job)
        return -job

    most_ahead = 0
    for position, (job, value) in enumerate(bounded_map(range(100), start, workers=lambda: 2)):
        assert (job, value) == (position, -position)
        most_ahead = max(most_ahead, len(started) - position)
    assert most_ahead == 8


def test_run_that_needs_only_the_memo_starts_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract_to(tmp_path, [1, 2])
    monkeypatch.setattr(Pool, "submit", lambda *_: pytest.fail("a worker was started"))
    extract_to(tmp_path, [1, 2], scheduler="processes")


def test_missing_device_is_refused_before_workers_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("distributed.LocalCluster", lambda **_: pytest.fail("workers were started"))
    with (
        Pool(ExecutionConfig(), device="cuda") as pool,
        pytest.raises(ParameterError, match=r"run\.device = 'cuda': torch"),
    ):
        pool.submit(abs, -1)


def test_progress_bar_shows_counts_speed_and_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr("pipeline.parallel.progress.Console", lambda **_: console)
    clock = itertools.count(step=0.01)  # seconds between two updates
    with progress_bar() as bar:
        bar.get_time = lambda: next(clock)
        task = bar.add_task("spectrograms", total=13_700, summary="")
        for done in range(1, 13_000):
            summary = ExtractionSummary(
                "spectrograms", 13_700, computed=1, from_memo=done - 13, failures=dict.fromkeys("abcdefghijkl", "")
            )
            bar.update(task, advance=1, summary=summary.text)
    last = Text.from_ansi(screen.getvalue()).plain.strip().splitlines()[-1]
    assert re.search(r"^spectrograms ━.* 12999/13700 \d+\.\d/s 0:\d\d:\d\d 12986 from the memo, 12 failed$", last), last


def test_progress_in_a_log_file_is_a_line_every_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr("pipeline.parallel.progress.Console", lambda **_: Console(file=screen))
    now = 0.0
    monkeypatch.setattr("pipeline.parallel.progress.time.monotonic", lambda: now)
    caplog.set_level("INFO")
    with progress_bar() as bar:
        bar.get_time = lambda: now
        task = bar.add_task("faces", total=100, summary="")
        for done in range(1, 101):
            now += 1
            summary = ExtractionSummary("faces", 100, computed=done - 2, from_memo=2, failures={"a": ""})
            bar.update(task, advance=1, summary=summary.text)
    assert screen.getvalue() == ""
    assert caplog.messages == [
        f"faces: {done} of 100, 1.0/s, {left} left, 2 from the memo, 1 failed"
        for done, left in ((30, "0:01:10"), (60, "0:00:40"), (90, "0:00:10"))
    ]
    with progress_bar(hidden=True) as bar:
        now += 100
        bar.update(bar.add_task("quiet", total=1, summary=""), advance=1)
    assert len(caplog.messages) == 3


def thread_counts(_: object) -> set[int]:
    """Return the numbers of threads that the numerical libraries of this process use."""
    import cv2  # not at the top, because all workers of this file's tests would import it
    import numba
    import torch
    from threadpoolctl import threadpool_info

    numpy_and_others = {library["num_threads"] for library in threadpool_info()}
    return {torch.get_num_threads(), numba.get_num_threads(), cv2.getNumThreads(), *numpy_and_others}


def count_builds(_: object) -> tuple[int, int]:
    """Embed an image; return this process's id, and how often it has built the network."""
    import torch

    from pipeline.embeddings.backbones import BackboneConfig
    from pipeline.embeddings.engines import embed, load_engine

    embed(torch.zeros(1, 1, 32, 32), BackboneConfig(backbone="resnet18", weights="random", size_px=32))
    return os.getpid(), load_engine.cache_info().misses


def test_worker_has_one_thread_and_builds_a_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "2")  # as a user may
    with Pool(ExecutionConfig(workers=2)) as pool:
        assert pool.submit(thread_counts, None)() == {1}
        calls = [pool.submit(count_builds, None) for _ in range(8)]
        builds = {call() for call in calls}
    assert len(builds) == 2
    assert {count for _, count in builds} == {1}


def test_result_counts_even_if_its_worker_leaves_at_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Client._gather

    async def gather(client: Client, futures: Any, **options: Any) -> Any:
        results = await original(client, futures, **options)
        for future in futures:
            future._state.lose()  # as Dask does when a worker leaves
        return results

    monkeypatch.setattr(Client, "_gather", gather)
    with Pool(ExecutionConfig(workers=1)) as pool:
        assert [pool.submit(abs, -number)() for number in range(3)] == [0, 1, 2]


def fail_unexpectedly(text: str) -> None:
    raise RuntimeError(text)


def test_error_raised_by_the_call_is_raised_again() -> None:
    with Pool(ExecutionConfig(workers=1)) as pool:
        with pytest.raises(FileNotFoundError, match="nowhere"):
            pool.submit(os.listdir, "/nowhere")()
        with pytest.raises(RuntimeError, match="nowhere"):
            pool.submit(fail_unexpectedly, "nowhere")()


def fail_if_odd(number: int) -> int:
    """Sleep for some milliseconds; return an even number, or raise `ClipError`."""
    time.sleep(number % 5 / 1000)
    if number % 2:
        raise ClipError(f"{number} is odd")
    return number


def test_polling_the_workers_disturbs_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.parallel.pool.POLL_S", 0.001)
    with Pool(ExecutionConfig(workers=2)) as pool:
        for number, call in bounded_map(range(500), lambda n: pool.submit(fail_if_odd, n), workers=lambda: 1):
            if number % 2:
                with pytest.raises(ClipError, match=f"{number} is odd"):
                    call()
            else:
                assert call() == number
