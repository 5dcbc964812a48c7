"""Calls that always end: they are limited in time, and an exception on a worker reaches the parent process."""

import asyncio
import faulthandler
import os
import pickle
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from pipeline.base.errors import ClipError, UnsendableError, describe
from pipeline.base.text import printable

Call = Callable[[], Any]
GRACE_S = 30  # added to the limit before a process is killed that cannot end a call in any other way
_local = threading.local()  # `thread`: what makes the calls of the current thread


class CallTimeoutError(ClipError):
    """A call that takes longer than its limit."""


def call_within(call: Call, timeout_s: float | None) -> Any:
    """Return `call()`, or raise `CallTimeoutError` if it takes longer than `timeout_s`; null means no limit.

    The call is made in another thread, which later calls reuse. Nothing can end a thread, so one that is too slow is
    abandoned: it may go on until the process ends, which it does not delay.
    """
    if timeout_s is None:
        return call()
    thread: _CallThread | None = getattr(_local, "thread", None)
    if not (thread and thread.is_alive()):  # a forked process has no thread
        thread = _local.thread = _CallThread()
    future = thread.start(call)
    try:
        future.exception(timeout_s)
    except BaseException as error:
        del _local.thread  # it is still busy, also if Ctrl-C has ended the wait
        if isinstance(error, TimeoutError):
            raise CallTimeoutError(f"took longer than run.clip_timeout_s = {timeout_s:g} s") from None
        raise
    return future.result()


class _CallThread:
    """A thread that makes one call after another; it ends with this object."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Call] | None] = SimpleQueue()
        thread = threading.Thread(target=_make_calls, args=[self._calls], name="fdan-calls", daemon=True)
        thread.start()
        self.is_alive = thread.is_alive
        weakref.finalize(self, self._calls.put, None)

    def start(self, call: Call) -> "Future[Any]":
        """Start a call; the future holds its result or its exception."""
        future: Future[Any] = Future()
        self._calls.put((future, call))
        return future


def _make_calls(calls: "SimpleQueue[tuple[Future[Any], Call] | None]") -> None:
    while item := calls.get():
        future, call = item
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001  # raised again by whoever waits for the result
            future.set_exception(error)
        except BaseException as error:  # noqa: BLE001  # such as `exit()`, which must not end this process
            future.set_exception(UnsendableError(describe(error)).with_traceback(error.__traceback__))
        del item, future, call  # they would keep the result in memory while the thread waits for the next call


@dataclass(frozen=True)
class Failure:
    """What a call raised on a worker, as data that can be sent to the parent process whatever it is."""

    pickled: bytes
    description: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Return the exception as data."""
        try:
            pickled = pickle.dumps(error)
        except Exception:  # noqa: BLE001  # whatever an exception's own code raises
            pickled = b""
        lines = "".join(traceback.format_exception(error)).splitlines()
        return cls(pickled, describe(error), "\n".join(map(printable, lines)))

    def reraise(self) -> None:
        """Raise the exception, with the worker's traceback as its cause.

        Raise `UnsendableError` with the same kind and text if the exception does not survive being sent.
        """
        error: Exception = UnsendableError(self.description)
        try:
            copy = pickle.loads(self.pickled)
            if isinstance(copy, Exception) and describe(copy) == self.description:
                error = copy
        except Exception:  # noqa: BLE001  # whatever an exception's own code raises
            pass
        raise error from WorkerTracebackError(self.traceback)


class WorkerTracebackError(Exception):
    """The traceback of an exception that was raised on a worker."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def call_on_worker(call: Call, timeout_s: float | None) -> Any:
    """Return `call()`, or a `Failure` if it raises; to be called by a task of Dask.

    Raise `CallTimeoutError` if the call takes longer than `timeout_s`. The worker's process then ends, and with it
    the thread of the call. The nanny of the worker, if it has one, starts a new process.
    """
    from distributed import get_worker

    worker = get_worker()
    try:
        with _killed_if_stuck(timeout_s if worker.nanny else None):
            return call_within(call, timeout_s)
    except CallTimeoutError:
        _leave_after_answer(worker)
        raise  # Dask sends exceptions to the scheduler, but keeps results on the worker, which leaves
    except Exception as error:  # noqa: BLE001  # the parent process raises it again
        return Failure.of(error)


@contextmanager
def _killed_if_stuck(timeout_s: float | None) -> Iterator[None]:
    """Kill this process some time after the limit: C code that keeps Python's lock stops all other threads."""
    if timeout_s is None:
        yield
        return
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(timeout_s + GRACE_S, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _leave_after_answer(worker: Any) -> None:
    """Let a worker of Dask take no further task, send the answer of this one, and leave.

    The order matters: a task that a worker holds when it leaves is computed again, and counts as one that kills its
    worker.
    """
    from distributed import Status

    announced = threading.Event()

    async def leave() -> None:
        worker.status = Status.closing_gracefully  # a message to the scheduler, sent before the answer
        announced.set()
        while worker.state.executing_count:
            await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(GRACE_S):
                await worker.scheduler.retire_workers(workers=[worker.address], close_workers=False, remove=True)
                await worker.close(nanny=False)
        finally:
            if worker.nanny:  # the process is the worker's own; what its thread does could keep it from ending
                os._exit(0)

    worker.loop.add_callback(leave)
    announced.wait(GRACE_S)
