"""A pool that calls a serial function in this process, in local processes, or on a Dask cluster."""

import logging
import os
from asyncio import run_coroutine_threadsafe
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import ExitStack
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import Field, field_validator

from pipeline.base.errors import ClipError, ParameterError, PipelineError
from pipeline.base.params import Config
from pipeline.parallel.calls import Failure, call_on_worker, call_within
from pipeline.parallel.devices import find_device, hardware

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture

Job = TypeVar("Job")
Started = TypeVar("Started")
JOBS_AHEAD_PER_WORKER = 4
CONNECT_TIMEOUT_S = 10
POLL_S = 5
SCHEDULER_LOST = (
    "the connection to the Dask scheduler is lost; finished work is kept; run the same command again to continue"
)
log = logging.getLogger(__name__)


class ExecutionConfig(Config):
    """The section `run`: how to run, not what to compute, so DVC does not track it."""

    scheduler: str = "processes"
    """`synchronous`, `processes`, or the address of a Dask scheduler (`tcp://host:8786`)."""
    workers: int | None = Field(None, ge=1, le=4096)
    """Number of processes; null: one per core."""
    device: str = Field("cpu", pattern=r"^(cpu|mps|cuda(:\d{1,3})?)$")
    """Where backbones compute and heads train: `cpu`, `cuda`, `cuda:1` and so on, or `mps`."""
    max_failures: float = Field(0.05, ge=0, le=1)
    """Share of clips that may fail before the stage fails."""
    clip_timeout_s: float = Field(600, gt=0, le=86400)
    """Seconds that one clip may take in one step. A clip that takes longer fails, and its worker is replaced."""
    max_pixels: int = Field(9437184, ge=256, le=1 << 30)
    """Pixels that a frame may have. A video with larger frames fails."""
    max_decoded_s: float = Field(600, gt=0, le=86400)
    """Seconds of video or audio that a file may contain. A longer file fails."""
    dashboard: bool = False
    """Open Dask's dashboard, for this machine only."""

    @field_validator("scheduler")
    @classmethod
    def _check_scheduler(cls, value: str) -> str:
        if value not in ("synchronous", "processes") and not value.startswith(("tcp://", "tls://")):
            raise ValueError("valid: synchronous, processes, or the address of a Dask scheduler (tcp://host:8786)")
        return value


class Pool:
    """Runs calls on workers. The first call starts them, so a run that needs only the memo starts none."""

    def __init__(
        self, run: ExecutionConfig, *, device: str = "cpu", prepare: Callable[[], object] = lambda: None
    ) -> None:
        """Create a pool whose calls compute on `device`; start nothing yet.

        `prepare` is called before workers start, if any do.
        """
        self.run = run
        self._prepare = prepare
        self._device = device
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Return the pool; start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers that this pool has started."""
        self._resources.close()

    @property
    def workers(self) -> int:
        """The number of calls that run at once; on a cluster, it changes as workers join and leave."""
        if self.run.scheduler == "synchronous":
            return 1
        if self.run.scheduler == "processes" or "_client" not in vars(self):
            return self._local_workers
        return max(1, len(self._query_scheduler(self._client.nthreads) or ()))

    @cached_property
    def hardware(self) -> str:
        """The hardware of the workers, which the last digits of results depend on; a cluster's worker reports it."""
        if self.run.scheduler in ("synchronous", "processes"):
            return hardware(self._device)
        reported: str = self.submit(hardware, self._device)()
        return reported

    @property
    def _local_workers(self) -> int:
        return self.run.workers or os.cpu_count() or 1

    def submit(
        self,
        function: Callable[[Any], Any],
        argument: Any,
        *,
        timeout_s: float | None = None,
        version: str = "",
        worker_version: Callable[[], str] | None = None,
    ) -> Callable[[], Any]:
        """Start `function(argument)` on a worker; return a function that waits for its result.

        That function raises what the call raised, and `ClipError` if the call took longer than `timeout_s` (null means
        no limit) or killed its worker. The scheduler "synchronous" has no workers: it makes the call when the result is
        requested. If `worker_version` is given, a cluster's worker calls it first, and refuses the call unless it
        returns `version`.
        """
        call: Callable[[], Any] = partial(function, argument)
        if self.run.scheduler == "synchronous":
            return partial(call_within, call, timeout_s)
        client = self._client  # imports Dask
        from distributed.client import ClosedClientError

        from pipeline.parallel._cluster import package_call

        is_local = self.run.scheduler == "processes"
        call = partial(call_on_worker, call, timeout_s)
        call = package_call(call, version, None if is_local else worker_version)
        try:
            future = client.submit(call, pure=False)
        except ClosedClientError:
            raise PipelineError(SCHEDULER_LOST) from None
        # The result is fetched as soon as it is ready, while the parent writes others. Dask's own executor does this
        # too, but it reports an error if the worker leaves at that moment.
        loop = client.loop.asyncio_loop  # type: ignore[union-attr]
        return partial(self._wait_for_result, future, run_coroutine_threadsafe(_fetch(future), loop))

    def _wait_for_result(self, future: "DaskFuture[Any]", fetched: Future[Any]) -> Any:
        from distributed import KilledWorker

        has_warned = False
        while not wait([fetched], POLL_S).done:
            workers = self._query_scheduler(self._client.nthreads)
            if workers is None:
                raise PipelineError(SCHEDULER_LOST)
            if not workers and not has_warned and self.run.scheduler != "processes":  # Dask replaces local workers
                log.warning("run.scheduler: no worker is left; waiting for one to join")
            has_warned = not workers
        try:
            result = fetched.result()
        except CancelledError:
            raise PipelineError(SCHEDULER_LOST) from None
        except KilledWorker:  # Dask's message names a port, so it would differ from run to run
            raise ClipError("its process died each time it was tried; out of memory?") from None
        except (OSError, RuntimeError):  # from Dask, as in `_query_scheduler`, or from loading the call
            if future.status == "error":  # loading the call raised it
                raise
            raise PipelineError(SCHEDULER_LOST) from None
        if isinstance(result, Failure):
            result.reraise()
        return result

    def _query_scheduler(self, query: Callable[[], Any]) -> Any:
        """Return the result of a query to the scheduler; None if the connection is lost.

        A future of a lost scheduler can wait for ever, so the caller must check.
        """
        if self._client.scheduler is None:  # the client has given up on it
            return None
        try:
            return query()
        except (OSError, RuntimeError):  # RuntimeError: the client is closing its connections
            return None

    @cached_property
    def _client(self) -> "Client":
        # These imports take half a second, which only runs with workers need to spend.
        from pipeline.parallel._cluster import LocalWorkerSetup, admit_workers
        from pipeline.parallel._local import start_workers

        self._prepare()
        for name in ("distributed", "distributed.client", "tornado.application"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # the pool reports what users need to know
        address: Any = self.run.scheduler
        is_local = address == "processes"
        if is_local:
            if self._device != "cpu":  # fail before workers start; a cluster may have devices that this machine lacks
                find_device(self._device)
            address = self._resources.enter_context(start_workers(self._local_workers, dashboard=self.run.dashboard))
            if self.run.dashboard:
                log.info("Dask's dashboard: %s", address.dashboard_link)
        # By default, results pass through the scheduler, and are encrypted twice.
        client = self._resources.enter_context(_connect(address, direct_to_workers=is_local))
        if is_local:
            client.register_plugin(LocalWorkerSetup())
        else:
            unregister = partial(client.unregister_worker_plugin, admit_workers(client, self._device).name)
            self._resources.callback(self._query_scheduler, unregister)  # the cluster outlives this run
        return client


def _connect(address: Any, *, direct_to_workers: bool) -> "Client":
    """Connect to a scheduler; for an address with `tls://`, certificates are taken from Dask's configuration."""
    from distributed import Client

    try:
        return Client(address, timeout=CONNECT_TIMEOUT_S, direct_to_workers=direct_to_workers)
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # all but the first: TLS on one side only
        hint = "; tls:// needs certificates in `distributed.comm.tls` of Dask's configuration"
        raise ParameterError(
            f"run.scheduler: no Dask scheduler answers at {address}: {error}{hint if 'tls:' in str(address) else ''}"
        ) from error


async def _fetch(future: "DaskFuture[Any]") -> Any:
    result = await future
    future.release()  # the worker need not keep it, so nothing is computed again if the worker leaves
    return result


def bounded_map(
    jobs: Iterable[Job], start: Callable[[Job], Started], *, workers: Callable[[], int]
) -> Iterator[tuple[Job, Started]]:
    """Yield each job with `start(job)`, in order, starting at most four jobs per worker ahead.

    `workers` returns the number of workers, which may be known only after the first start.
    """
    started: deque[tuple[Job, Started]] = deque()
    for job in jobs:
        started.append((job, start(job)))
        if len(started) >= JOBS_AHEAD_PER_WORKER * workers():
            yield started.popleft()
    yield from started
