"""Parallelism as an argument: one serial function, called here or mapped by Dask over processes."""

import logging
import os
from asyncio import run_coroutine_threadsafe
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import ExitStack
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import dask
from pydantic import Field, field_validator

from pipeline.base.errors import ClipError, ParameterError, PipelineError
from pipeline.base.params import Config
from pipeline.base.processes import ONE_THREAD
from pipeline.parallel.devices import find_device, hardware

if TYPE_CHECKING:
    from distributed import Client, LocalCluster
    from distributed import Future as DaskFuture

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
    # What Dask looks at many times a second, for a dashboard and its warnings, takes a twentieth of two cores.
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    # What it writes down for those who debug it, 10,000 lines of each kind, is most of what grows with the clips.
    "distributed.admin.log-length": 100,
    "distributed.admin.low-level-log-length": 100,
    # A machine that slept, or was short of breath, is no reason to give a worker up: one that dies is noticed at once.
    "distributed.comm.timeouts.tcp": "1 day",
    "distributed.scheduler.worker-ttl": None,
}
JOBS_AHEAD_PER_WORKER = 4
STARTS = 3
CONNECT_S = 10
LOOK_AGAIN_S = 5
LOST = "the Dask scheduler is lost; what is done is kept, and the same command goes on from there"
log = logging.getLogger(__name__)


class ExecutionConfig(Config):
    """How to run, never what comes out: the section `run`, which DVC does not track."""

    scheduler: str = "processes"
    """`synchronous`, `processes`, or the address of a Dask scheduler (`tcp://host:8786`)."""
    workers: int | None = Field(None, ge=1)
    """Number of processes; null: one per core."""
    device: str = Field("cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    """Where backbones compute and heads train: `cpu`, `cuda`, `cuda:1` and so on, or `mps`."""
    max_failures: float = Field(0.05, ge=0, le=1)
    """Share of clips that may fail before the stage fails."""

    @field_validator("scheduler")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("synchronous", "processes") and not value.startswith(("tcp://", "tls://")):
            raise ValueError("valid: synchronous, processes, or a Dask scheduler's address (tcp://host:8786)")
        return value


class Pool:
    """Where calls run. The first call starts the workers, so a run that finds all in the memo starts none."""

    def __init__(self, run: ExecutionConfig, *, device: str = "cpu") -> None:
        """Remember how to run, and on what device the calls compute; start nothing."""
        self.run = run
        self._device = device
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers that were started."""
        self._open.close()

    @property
    def workers(self) -> int:
        """How many calls run at once; the workers of a cluster come and go."""
        if self.run.scheduler == "synchronous":
            return 1
        if self.run.scheduler == "processes" or "_client" not in vars(self):
            return self._own_workers
        return max(1, len(self._ask(self._client.nthreads) or ()))

    @cached_property
    def hardware(self) -> str:
        """The kind of what computes, on which last digits depend; a cluster is asked for its own."""
        if self.run.scheduler in ("synchronous", "processes"):
            return hardware(self._device)
        kind: str = self.submit(hardware, self._device)()
        return kind

    @property
    def _own_workers(self) -> int:
        return self.run.workers or os.cpu_count() or 1

    def submit(
        self, function: Callable[[Any], Any], argument: Any, *, version: str = "", here: Callable[[], str] | None = None
    ) -> Callable[[], Any]:
        """Have the function called with the argument: by a worker from now on, or here when the answer is asked for.

        What is returned gives the answer, or raises what the call raised. A cluster's worker for which `here` does not
        say `version` answers nothing.
        """
        call: Callable[[], Any] = partial(function, argument)
        if self.run.scheduler == "synchronous":
            return call
        client = self._client  # imports Dask
        from distributed.client import ClosedClientError

        from pipeline.parallel._cluster import package_call

        if self.run.scheduler != "processes":
            call = package_call(call, version, here)
        try:
            future = client.submit(call, pure=False)
        except ClosedClientError:
            raise PipelineError(LOST) from None
        # Fetched as soon as it is there, while others are written. Dask's own executor does so, too, but takes an
        # answer for an error if its worker leaves at that moment.
        loop = client.loop.asyncio_loop  # type: ignore[union-attr]
        return partial(self._answer, future, run_coroutine_threadsafe(_fetch(future), loop))

    def _answer(self, future: "DaskFuture[Any]", fetched: Future[Any]) -> Any:
        from distributed import KilledWorker

        missed = False
        while not wait([fetched], LOOK_AGAIN_S).done:
            workers = self._ask(self._client.nthreads)
            if workers is None:
                raise PipelineError(LOST)
            if not workers and not missed and self.run.scheduler != "processes":  # a process of ours is replaced
                log.warning("run.scheduler: no worker is left; waiting for one to come")
            missed = not workers
        try:
            return fetched.result()
        except CancelledError:
            raise PipelineError(LOST) from None
        except KilledWorker:  # whose own words name a port, and so differ from run to run
            raise ClipError("its process died each time it was tried; out of memory?") from None
        except (OSError, RuntimeError):  # as in `_ask`
            if future.status == "error":  # it is the call's own
                raise
            raise PipelineError(LOST) from None

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Return what the scheduler answers; None where it is gone: a future can wait for it for ever."""
        if self._client.scheduler is None:  # once the client has given it up
            return None
        try:
            return question()
        except (OSError, RuntimeError):  # RuntimeError: the client is closing its connections
            return None

    @cached_property
    def _client(self) -> "Client":
        # Half a second that not every run has to pay.
        from distributed import Client

        from pipeline.parallel._cluster import LocalWorkerSetup, admit_workers

        for name in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what concerns people is said by us
        address: Any = self.run.scheduler
        if self.run.scheduler == "processes":
            if self._device != "cpu":  # at once, not by a worker that has started; a cluster's may have what we lack
                find_device(self._device)
            address = self._open.enter_context(self._start_workers())
        try:
            client = self._open.enter_context(Client(address, timeout=CONNECT_S))
        except OSError as error:
            raise ParameterError(f"run.scheduler: no Dask scheduler answers at {address}: {error}") from error
        if self.run.scheduler == "processes":
            client.register_plugin(LocalWorkerSetup())
        else:
            dismiss = partial(client.unregister_worker_plugin, admit_workers(client, self._device).name)
            self._open.callback(self._ask, dismiss)  # the cluster goes on without us
        return client

    def _start_workers(self) -> "LocalCluster":
        from distributed import LocalCluster

        dask.config.set(DASK_SETTINGS)
        for _ in range(STARTS):
            try:
                return LocalCluster(
                    n_workers=self._own_workers,
                    threads_per_worker=1,
                    memory_limit=0,  # its share of the machine's would be a reason to kill it
                    dashboard_address=":0",
                    silence_logs=logging.CRITICAL,
                )
            except RuntimeError as error:  # one has died; later than this, Dask replaces it
                fault = error
        raise PipelineError(f"workers die while they start, {STARTS} times in a row; out of memory?") from fault


async def _fetch(future: "DaskFuture[Any]") -> Any:
    return await future


def bounded_map(
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
