"""Calls end within their limit, and whatever they raise reaches the process that waits for them."""

import gc
import os
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import ClipError, ParameterError, describe
from pipeline.base.provenance import ROOT
from pipeline.parallel.calls import CallTimeoutError, Failure, call_within
from pipeline.parallel.pool import ExecutionConfig, Pool


def fail(error: BaseException) -> None:
    raise error


class WithoutTextError(Exception):
    """Its text cannot be found out."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class OtherSignatureError(Exception):
    """Cannot be unpickled, because its constructor takes something else than `args`."""

    def __init__(self, code: int, place: str) -> None:
        super().__init__(f"code {code} in {place}")


class OtherTextError(Exception):
    """Has another text after it was pickled and unpickled."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")


class HoldsALockError(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("is locked")
        self.lock = threading.Lock()


EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "KeyError: 'fps'": lambda: KeyError("fps"),
    "MemoryError": MemoryError,
    "ValueError: two lines": lambda: ValueError("two\nlines"),
    r"ValueError: \x1b[31mred": lambda: ValueError("\x1b[31mred"),
    r"OSError: \udcff.mp4": lambda: OSError("\udcff.mp4"),
    "RuntimeError: <Frame at 0x…>": lambda: RuntimeError("<Frame at 0x7f3a5c0021d0>"),
    f"ValueError: {'x' * 287}…": lambda: ValueError("x" * 20_000),
    "WithoutTextError": WithoutTextError,
    "OtherSignatureError: code 5 in header": lambda: OtherSignatureError(5, "header"),
    "OtherTextError: code 5": lambda: OtherTextError(5),
    "HoldsALockError: is locked": HoldsALockError,
    "SystemExit: 3": lambda: SystemExit(3),
    "has no frame": lambda: ClipError("has no frame"),
}


@pytest.mark.parametrize("description", EXCEPTIONS)
def test_exception_reaches_another_process_with_its_kind_text_and_traceback(description: str) -> None:
    with pytest.raises(Exception) as here:
        call_within(partial(fail, EXCEPTIONS[description]()), 10)
    with pytest.raises(Exception) as there:
        Failure.of(here.value).reraise()
    assert describe(here.value) == describe(there.value) == description
    shown = "".join(traceback.format_exception(there.value.__cause__))
    assert "in fail\n    raise error" in shown
    assert "\x1b" not in shown


def test_calls_share_a_thread_until_one_is_too_slow() -> None:
    threads = {call_within(threading.get_ident, 10) for _ in range(3)}
    assert len(threads) == 1
    release = threading.Event()
    with pytest.raises(CallTimeoutError, match=r"^took longer than run.clip_timeout_s = 0.05 s$"):
        call_within(release.wait, 0.05)
    assert call_within(threading.get_ident, 10) not in threads  # although the slow call still runs
    release.set()
    assert call_within(threading.get_ident, None) == threading.get_ident()


def test_idle_thread_keeps_no_result_in_memory_and_ends_with_the_thread_that_uses_it() -> None:
    def use() -> tuple[threading.Thread, "weakref.ref[set[int]]"]:
        return call_within(threading.current_thread, 10), weakref.ref(call_within(set, 10))

    with ThreadPoolExecutor(1) as pool:
        thread, result = pool.submit(use).result()
        gc.collect()
        assert result() is None
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_process_has_a_thread_of_its_own() -> None:
    call_within(int, 10)
    child = os.fork()
    if not child:
        status = 1
        try:
            status = call_within(int, 10)
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.slow
def test_process_ends_although_a_call_hangs() -> None:
    code = (
        "import time; from pipeline.parallel.pool import *\n"
        "with Pool(ExecutionConfig(scheduler='synchronous')) as pool:\n"
        "    try: pool.submit(time.sleep, 1000, timeout_s=0.01)()\n"
        "    except Exception as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "took longer than run.clip_timeout_s = 0.01 s\n"), result.stderr


def hang(kind: str, log: Path) -> int:
    """Write a line to the log; hang in Python or in the system; return the process's id."""
    with log.open("a") as file:
        file.write(f"{kind}\n")
    while kind == "loop":
        pass
    time.sleep(1000 if kind == "sleep" else 0)
    return os.getpid()


@pytest.mark.slow
def test_call_that_takes_too_long_is_made_once_and_costs_its_worker(tmp_path: Path) -> None:
    call = partial(hang, log=tmp_path / "log")
    with Pool(ExecutionConfig(workers=1)) as pool:
        waiting = [pool.submit(call, kind, timeout_s=0.5) for kind in ("", "sleep", "", "loop", "")]
        first = waiting[0]()
        for position in (1, 3):
            with pytest.raises(ClipError, match=r"^took longer than run.clip_timeout_s = 0.5 s$"):
                waiting[position]()
        assert len({first, waiting[2](), waiting[4]()}) == 3
    assert sorted((tmp_path / "log").read_text().split()) == ["loop", "sleep"]


class Plugin:
    """A function that can be loaded in the process that made it only."""

    def __call__(self, _: object) -> None:
        """Do nothing."""

    def __reduce__(self) -> Any:
        return load_plugin, (os.getpid(),)


def load_plugin(process: int) -> Plugin:
    if os.getpid() != process:
        raise OSError("plugin.so: cannot open")
    return Plugin()


@pytest.mark.slow
def test_call_that_a_worker_cannot_load_is_an_error_and_is_not_waited_for() -> None:
    with (
        Pool(ExecutionConfig(workers=1)) as pool,
        pytest.raises(ParameterError, match=r"cannot load what this run needs: plugin\.so: cannot open"),
    ):
        pool.submit(Plugin(), None)()


@pytest.mark.slow
def test_worker_that_keeps_the_lock_of_python_is_killed() -> None:
    code = (
        "import ctypes; from pipeline.parallel import calls; calls.GRACE_S = 0.1\n"
        "with calls._killed_if_stuck(0.1): pass\n"
        "with calls._killed_if_stuck(0.1): ctypes.PyDLL(None).sleep(1000)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")
