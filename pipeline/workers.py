"""What is asked of the workers of a Dask cluster, however they were started."""

import os
import signal
from typing import Any

from distributed import Client, WorkerPlugin
from threadpoolctl import threadpool_limits

from pipeline.errors import ParameterError
from pipeline.processes import ONE_THREAD, collect_rarely
from pipeline.provenance import library_versions

WAIT_S = 60
SHAPING = ("av", "librosa", "numpy", "opencv-python", "scikit-image", "scipy", "torch", "torchvision")


class OneThread(WorkerPlugin):
    """Make a worker's numerical libraries use one thread: those that are loaded, and those that will be."""

    name = "fdan-one-thread"

    def setup(self, worker: Any) -> None:
        """Limit the worker's process."""
        os.environ.update(ONE_THREAD)
        threadpool_limits(1)


class Ours(WorkerPlugin):
    """Settle a worker that was started from here."""

    name = "fdan-ours"

    def setup(self, worker: Any) -> None:
        """Take Ctrl-C away, which a terminal sends to it too: who started it will stop it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a worker's own thread is its process's first
        collect_rarely()


def admit(client: Client) -> int:
    """Return the number of workers, each of which is found fit: one thread, and the libraries that are here."""
    try:
        client.wait_for_workers(1, timeout=WAIT_S)
    except TimeoutError:
        raise ParameterError(f"run.scheduler: no worker has come within {WAIT_S} s; start one: dask worker") from None
    client.register_plugin(OneThread())
    threads: dict[str, int] = client.nthreads()
    for address, count in threads.items():
        if count != 1:
            raise ParameterError(
                f"run.scheduler: the worker {address} has {count} threads; start it with: dask worker --nthreads 1"
            )
    own = library_versions(*SHAPING)
    for address, versions in client.run(library_versions, *SHAPING).items():
        for name, version in versions.items():
            if version != own[name]:
                raise ParameterError(
                    f"run.scheduler: the worker {address} has {name} {version}, not {own[name]}; "
                    "its results would be kept under a wrong name"
                )
    return len(threads)
