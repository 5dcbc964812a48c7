"""Mapping a step over clips: nothing computed twice, failures named, one file whatever the number of workers."""

import hashlib
import io
import itertools
import os
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np
import pytest
import torch
from distributed import Client
from rich.console import Console
from rich.text import Text
from threadpoolctl import threadpool_info

from pipeline.base.errors import ClipError, ExcludedClipError, ParameterError, PipelineError
from pipeline.embeddings.backbones import BackboneConfig
from pipeline.embeddings.engines import embed, load_engine
from pipeline.memo.entries import Memo
from pipeline.memo.extraction import ClipJob, ExtractionSummary, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool, bounded_map
from pipeline.parallel.progress import progress_bar
from pipeline.store.reader import Reader

SCHEMA = "fdan.test/1"
TOLD = {"schema": SCHEMA}
HERE = Pool(ExecutionConfig(scheduler="synchronous"))
EMPTY = {"values": np.empty((0, 2), np.float32), "times": np.empty(0, np.float32)}


def compute(number: int, log: Path) -> dict[str, np.ndarray]:
    """Return `number` rows; leave a line in the log each time it runs, in whatever process."""
    with log.open("a") as file:
        file.write(f"{number}\n")
    if number == 13:
        raise ClipError("is unlucky")
    if number == 77:
        raise ExcludedClipError("shows nobody ä")
    if number == 99:
        os._exit(1)  # what a crash in a codec does to its process
    values = np.full((number, 2), number, np.float32)
    return {"values": values, "times": np.arange(number, dtype=np.float32)}


def jobs(numbers: list[int]) -> list[ClipJob]:
    return [ClipJob(f"clip{number:02}", str(number), partial(int, number)) for number in numbers]


def extract_to(folder: Path, numbers: list[int], **run: Any) -> tuple[ExtractionSummary, str]:
    """Fill `folder/out.h5`; return the tally and the file's md5."""
    with Pool(ExecutionConfig(**({"scheduler": "synchronous", "max_failures": 0.5} | run))) as pool:
        tally = extract_to_file(
            folder / "out.h5", jobs(numbers), double(folder), like=EMPTY, attributes=TOLD, pool=pool
        )
    return tally, hashlib.md5((folder / "out.h5").read_bytes()).hexdigest()


def double(folder: Path) -> Step:
    """Return the step that computes as `compute` does."""
    compute_here = partial(compute, log=folder / "log")
    return Step("double", compute_here, compute, params={}, libraries=("numpy",), hardware="any")


def computed(folder: Path) -> list[int]:
    lines = (folder / "log").read_text().splitlines()
    (folder / "log").unlink()
    return sorted(map(int, lines))


def test_what_is_computed_once_is_never_computed_again(tmp_path: Path) -> None:
    tally, first = extract_to(tmp_path, [1, 2, 3])
    assert (tally.computed, tally.remembered, computed(tmp_path)) == (3, 0, [1, 2, 3])
    tally, second = extract_to(tmp_path, [1, 2, 3])
    assert (tally.computed, tally.remembered) == (0, 3)
    assert not (tmp_path / "log").exists()
    assert first == second


def test_one_clip_more_costs_one_clip_and_one_less_costs_none(tmp_path: Path) -> None:
    extract_to(tmp_path, [1, 2, 4])
    computed(tmp_path)
    extract_to(tmp_path, [1, 2, 3, 4])
    assert computed(tmp_path) == [3]
    extract_to(tmp_path, [1, 4])
    assert not (tmp_path / "log").exists()
    assert list(Reader[Any](tmp_path / "out.h5", schema=None)) == ["clip01", "clip04"]


def test_a_clip_that_parameters_leave_out_is_looked_at_once(tmp_path: Path) -> None:
    tallies = [extract_to(tmp_path, [1, 77])[0] for _ in range(2)]
    assert [tally.excluded for tally in tallies] == [{"clip77": "shows nobody ä"}] * 2
    assert [tally.failures for tally in tallies] == [{}] * 2
    assert computed(tmp_path) == [1, 77]
    assert list(Reader[Any](tmp_path / "out.h5", schema=None)) == ["clip01"]


def test_a_clip_whose_bytes_have_changed_is_computed_again_under_its_name(tmp_path: Path) -> None:
    for number in (2, 3, 2):
        job = ClipJob("clip", f"content {number}", partial(int, number))
        extract_to_file(tmp_path / "out.h5", [job], double(tmp_path), like=EMPTY, attributes=TOLD, pool=HERE)
        assert len(Reader[Any](tmp_path / "out.h5", schema=None).columns("clip")["values"]) == number
    assert computed(tmp_path) == [2, 3]


def test_a_spoiled_memo_entry_is_computed_again_and_the_result_is_the_same(tmp_path: Path) -> None:
    _, first = extract_to(tmp_path, [1, 2, 3])
    computed(tmp_path)
    entry = sorted(Memo().folder.rglob("*.entry"))[0]
    entry.write_bytes(entry.read_bytes()[:-4])
    _, second = extract_to(tmp_path, [1, 2, 3])
    assert len(computed(tmp_path)) == 1
    assert first == second


def test_a_clip_that_fails_is_named_with_its_reason_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally, _ = extract_to(tmp_path, [1, 13, 2, 77])
    assert tally.failures == {"clip13": "is unlucky"}
    cells = [cell.strip() for cell in capsys.readouterr().err.splitlines()[-2].split("│")[1:-1]]
    assert cells == ["double", "3", "0", "1", "1", "clip13: is unlucky"]
    reader = Reader[Any](tmp_path / "out.h5", schema=None)
    assert reader.media_sha256 == {"clip01": "1", "clip02": "2"}
    assert reader.attributes["failures"] == {"clip13": "is unlucky"}


def test_a_clip_whose_media_change_while_it_is_computed_is_never_kept(tmp_path: Path) -> None:
    job = ClipJob("clip", "content", partial(int, 2), lambda: False)
    with pytest.raises(PipelineError, match="the media of clip have changed meanwhile; run: dvc repro"):
        extract_to_file(tmp_path / "out.h5", [job], double(tmp_path), like=EMPTY, attributes=TOLD, pool=HERE)
    assert not list(Memo().folder.rglob("*.entry"))


def test_too_many_failures_are_an_error_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"1 of 2 clips failed, more than run.max_failures = 10%.*is unlucky"):
        extract_to(tmp_path, [13, 2], max_failures=0.1)
    assert not (tmp_path / "out.h5").exists()


def test_a_bug_is_no_failed_clip(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        extract_to_file(tmp_path / "out.h5", jobs([1]), double(tmp_path / "no"), like=EMPTY, attributes={}, pool=HERE)


def test_any_number_of_workers_gives_the_same_file_and_a_worker_that_dies_costs_its_clip_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    numbers = [1, 5, 13, 2, 8, 3]
    files = []
    for name, run in {"here": {}, "one": {"workers": 1}, "two": {"workers": 2}}.items():
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv("FDAN_CACHE", str(folder / "cache"))
        files.append(extract_to(folder, numbers, **({"scheduler": "processes", **run} if run else {}))[1])
        assert computed(folder) == sorted(numbers)
    assert len(set(files)) == 1
    tally, _ = extract_to(tmp_path / "two", [*numbers, 99, 4], scheduler="processes", workers=2)
    assert sorted(tally.failures) == ["clip13", "clip99"]
    # Whatever differs from run to run, such as a port, would make another file.
    assert tally.failures["clip99"] == "its process died each time it was tried; out of memory?"
    assert computed(tmp_path / "two").count(99) == 2
    assert list(Reader[Any](tmp_path / "two" / "out.h5", schema=None))[-1] == "clip04"
    assert "Traceback" not in capfd.readouterr().err  # a worker's: the reason is told in the table's words


def test_jobs_are_started_a_bounded_number_ahead_and_come_out_in_order() -> None:
    started: list[int] = []

    def start(job: int) -> int:
        started.append(job)
        return -job

    most = 0
    for position, (job, value) in enumerate(bounded_map(range(100), start, workers=lambda: 2)):
        assert (job, value) == (position, -position)
        most = max(most, len(started) - position)
    assert most == 8


def test_a_run_that_finds_all_in_the_memo_starts_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract_to(tmp_path, [1, 2])
    monkeypatch.setattr(Pool, "submit", lambda *_: pytest.fail("a worker was started"))
    extract_to(tmp_path, [1, 2], scheduler="processes")


def test_a_device_that_is_not_there_is_refused_before_a_worker_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("distributed.LocalCluster", lambda **_: pytest.fail("workers were started"))
    with (
        Pool(ExecutionConfig(), device="cuda") as pool,
        pytest.raises(ParameterError, match=r"run\.device = 'cuda': torch"),
    ):
        pool.submit(abs, -1)


def test_the_bar_says_what_came_of_the_clips_how_fast_and_how_long_still(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr("pipeline.memo.extraction.Console", lambda **_: console)
    clock = itertools.count(step=0.01)  # seconds from one look to the next
    with progress_bar() as bar:
        bar.get_time = lambda: next(clock)
        task = bar.add_task("spectrograms", total=13_700, told="")
        for done in range(1, 13_000):
            tally = ExtractionSummary(
                "spectrograms", 13_700, computed=1, remembered=done - 13, failures=dict.fromkeys("abcdefghijkl", "")
            )
            bar.update(task, advance=1, summary=tally.summary)
    last = Text.from_ansi(screen.getvalue()).plain.strip().splitlines()[-1]
    assert re.search(r"^spectrograms ━.* 12999/13700 \d+\.\d/s 0:\d\d:\d\d 12986 from the memo, 12 failed$", last), last


def numbers_of_threads(_: object) -> set[int]:
    """Return how many threads each of the numerical libraries of this process uses."""
    numpy_and_others = {library["num_threads"] for library in threadpool_info()}
    return {torch.get_num_threads(), numba.get_num_threads(), cv2.getNumThreads(), *numpy_and_others}


def times_built(_: object) -> tuple[int, int]:
    """Embed a picture; return this process, and how often it has built the network."""
    embed(torch.zeros(1, 1, 32, 32), BackboneConfig(backbone="resnet18", weights="random", size_px=32))
    return os.getpid(), load_engine.cache_info().misses


def test_a_worker_has_one_thread_and_builds_a_network_once() -> None:
    with Pool(ExecutionConfig(workers=2)) as pool:
        assert pool.submit(numbers_of_threads, None)() == {1}
        answers = [pool.submit(times_built, None) for _ in range(8)]
        told = {answer() for answer in answers}
    assert len(told) == 2
    assert {built for _, built in told} == {1}


def test_an_answer_counts_though_its_worker_leaves_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = Client._gather

    async def gather(client: Client, futures: Any, **options: Any) -> Any:
        answers = await undisturbed(client, futures, **options)
        for future in futures:
            future._state.lose()  # which Dask does when it hears that the worker has left
        return answers

    monkeypatch.setattr(Client, "_gather", gather)
    with Pool(ExecutionConfig(workers=1)) as pool:
        assert [pool.submit(abs, -number)() for number in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [(os.listdir, "/nowhere", FileNotFoundError), (torch.device, "nowhere", RuntimeError)],
)
def test_an_error_of_the_call_itself_comes_back(call: Any, argument: str, error: type[Exception]) -> None:
    with Pool(ExecutionConfig(workers=1)) as pool, pytest.raises(error, match="nowhere"):
        pool.submit(call, argument)()


def fail_if_odd(number: int) -> int:
    """Take a moment; return the number or fail."""
    time.sleep(number % 5 / 1000)
    if number % 2:
        raise ClipError(f"{number} is odd")
    return number


def test_looking_after_the_workers_disturbs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.parallel.pool.LOOK_AGAIN_S", 0.001)
    with Pool(ExecutionConfig(workers=2)) as pool:
        for number, answer in bounded_map(range(500), lambda n: pool.submit(fail_if_odd, n), workers=lambda: 1):
            if number % 2:
                with pytest.raises(ClipError, match=f"{number} is odd"):
                    answer()
            else:
                assert answer() == number
