"""Parallelism as an argument: one serial function, called here or mapped by Dask over processes."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any, Self, TypeVar

import dask
from pydantic import Field, field_validator

from pipeline.errors import ClipError, ParameterError
from pipeline.params import Config
from pipeline.threads import ONE_THREAD

Job = TypeVar("Job")
Started = TypeVar("Started")

# A worker computes much the same for every clip: to hand the memory back in between, page by page, costs a tenth of
# the time of a convolution (glibc; ignored elsewhere).
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 28), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}
DASK_SETTINGS = {
    # Set before a worker imports anything.
    "distributed.nanny.pre-spawn-environ": ONE_THREAD | KEEP_MEMORY,
    # One clip at a time on a worker: when it dies, exactly that clip is under suspicion.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 1,
}
JOBS_AHEAD_PER_WORKER = 4
CONNECT_S = 10


class RunConfig(Config):
    """How to run, never what comes out: the section `run`, which DVC does not track."""

    scheduler: str = "processes"
    workers: int | None = Field(None, ge=1)  # None: as many as there are cores
    device: str = Field("cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$")  # where the backbone computes
    max_failures: float = Field(0.05, ge=0, le=1)  # the share of clips that may fail before the stage does

    @field_validator("scheduler")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("synchronous", "processes") and not value.startswith(("tcp://", "tls://")):
            raise ValueError("valid: synchronous, processes, or a Dask scheduler's address (tcp://host:8786)")
        return value


class Deferred(Future[Any]):
    """A call that is made, in this process, when its result is asked for."""

    def __init__(self, call: Callable[[], Any]) -> None:
        """Remember the call."""
        super().__init__()
        self._call = call

    def result(self, timeout: float | None = None) -> Any:
        """Make the call; what it raises is raised here, as from any future."""
        return self._call()


class Here(Executor):
    """No other process at all."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return a future that calls when asked."""
        return Deferred(partial(fn, *args, **kwargs))


class Pool:
    """Where calls run. The first call starts the workers, so a run that finds all in the memo starts none."""

    def __init__(self, run: RunConfig) -> None:
        """Remember how to run; start nothing."""
        self.run = run
        self.workers = 1 if run.scheduler == "synchronous" else run.workers or os.cpu_count() or 1
        # What a clip may raise without ending the run: to have killed its worker each time it was tried is one.
        self.failures: tuple[type[Exception], ...] = (ClipError,)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers that were started."""
        self._open.close()

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Future[Any]:
        """Call the function with the argument, on a worker or here."""
        return self._executor.submit(function, argument)

    @cached_property
    def _executor(self) -> Executor:
        if self.run.scheduler == "synchronous":
            return Here()
        from distributed import (
            Client,
            KilledWorker,
            LocalCluster,
        )  # half a second that not every run has to pay

        from pipeline.workers import Deaf, admit

        logging.getLogger("distributed").setLevel(logging.ERROR)  # not its workers' comings and goings
        self.failures = (ClipError, KilledWorker)
        address: Any = self.run.scheduler
        if self.run.scheduler == "processes":
            dask.config.set(DASK_SETTINGS)
            address = self._open.enter_context(
                LocalCluster(n_workers=self.workers, threads_per_worker=1, dashboard_address=":0")
            )
        try:
            client = self._open.enter_context(Client(address, timeout=CONNECT_S))
        except OSError as error:
            raise ParameterError(f"run.scheduler: no Dask scheduler answers at {address}: {error}") from error
        if self.run.scheduler == "processes":
            client.register_plugin(Deaf())
        else:
            self.workers = admit(client)
        executor: Executor = client.get_executor(pure=False)
        return executor


def ahead(
    jobs: Iterable[Job], start: Callable[[Job], Started], *, workers: Callable[[], int]
) -> Iterator[tuple[Job, Started]]:
    """Yield each job with what `start` gave for it, in order, starting a bounded number ahead.

    How many workers there are may be known only after the first start.
    """
    under_way: deque[tuple[Job, Started]] = deque()
    for job in jobs:
        under_way.append((job, start(job)))
        if len(under_way) >= JOBS_AHEAD_PER_WORKER * workers():
            yield under_way.popleft()
    yield from under_way
