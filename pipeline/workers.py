"""What is asked of the workers of a Dask cluster, however they were started."""

import os
import signal
from typing import Any
from uuid import uuid4

from distributed import Client, WorkerPlugin
from threadpoolctl import threadpool_limits

from pipeline.errors import ParameterError
from pipeline.files import file_digest
from pipeline.processes import ONE_THREAD, collect_rarely
from pipeline.provenance import PROJECT, ROOT, digest, library_versions

WAIT_S = 60
SHAPING = (
    "av",
    "face-alignment",
    "librosa",
    "numpy",
    "opencv-python",
    "scikit-image",
    "scipy",
    "torch",
    "torchvision",
)


class Fit(WorkerPlugin):
    """Let a worker that comes later take part only if it computes what we would; make it use one thread."""

    def __init__(self, wanted: dict[str, str]) -> None:
        """Remember what there is here, under a name that no other run gives it."""
        self.name = f"fdan-fit-{uuid4().hex}"
        self.wanted = wanted

    def setup(self, worker: Any) -> None:
        """Limit the worker's numerical libraries to one thread: what is loaded, and what will be; or let it leave."""
        if fault := fault_of(worker, self.wanted):
            worker.loop.add_callback(worker.close, reason=fault)
            raise ParameterError(fault)
        os.environ.update(ONE_THREAD)
        threadpool_limits(1)


def fault_of(dask_worker: Any, wanted: dict[str, str]) -> str:
    """Return why a worker may not take part, nothing if it may."""
    if dask_worker.state.nthreads != 1:
        return f"{dask_worker.state.nthreads} threads; start it with: dask worker --nthreads 1"
    for name, version in _versions().items():
        if version != wanted[name]:
            return f"{name} {version}, not {wanted[name]}; its results would be kept under a wrong name"
    return ""


def _versions() -> dict[str, str]:
    """Return the versions of the libraries that shape results, and the sum of this project's own files."""
    files = sorted(path for package in PROJECT for path in (ROOT / package).rglob("*.py"))
    own = digest({path.relative_to(ROOT).as_posix(): file_digest(path) for path in files})
    return library_versions(*SHAPING) | {"fdan's code": own[:12]}


class Ours(WorkerPlugin):
    """Settle a worker that was started from here."""

    name = "fdan-ours"

    def setup(self, worker: Any) -> None:
        """Take Ctrl-C away, which a terminal sends to it too: who started it will stop it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a worker's own thread is its process's first
        collect_rarely()


def admit(client: Client) -> Fit:
    """Wait for the first worker, and refuse those that are not fit; return the plugin that meets those to come."""
    try:
        client.wait_for_workers(1, timeout=WAIT_S)
    except TimeoutError:
        raise ParameterError(f"run.scheduler: no worker has come within {WAIT_S} s; start one: dask worker") from None
    plugin = Fit(_versions())
    faults: dict[str, str | Exception] = client.run(fault_of, wanted=plugin.wanted, on_error="return")
    for address, fault in faults.items():
        if isinstance(fault, Exception):
            raise ParameterError(f"run.scheduler: the worker {address} cannot run fdan; install it there: {fault}")
        if fault:
            raise ParameterError(f"run.scheduler: the worker {address} has {fault}")
    client.register_plugin(plugin)
    return plugin
