"""What is asked of the workers of a Dask cluster, however they were started."""

import os
import platform
import signal
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from typing import Any

from distributed import Client, WorkerPlugin
from distributed.protocol import pickle
from threadpoolctl import threadpool_limits

from pipeline.base.errors import ParameterError
from pipeline.base.files import file_sha256
from pipeline.base.plugins import search_plugins
from pipeline.base.processes import ONE_THREAD, relax_garbage_collection
from pipeline.base.provenance import PROJECT, ROOT, digest
from pipeline.parallel.devices import hardware

WAIT_S = 60
WRONG_NAME = "its results would be kept under a wrong name"
ADMISSION = "fdan-fit-"
CODE = "fdan's code"
_alike: set[str] = set()  # the versions of steps that were found to be the same in this process
SHAPING = (
    "av",
    "face-alignment",
    "librosa",
    "nncf",
    "numba",
    "numpy",
    "onnxruntime",
    "opencv-python",
    "openvino",
    "pandas",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "soxr",
    "torch",
    "torchvision",
)


class WorkerAdmission(WorkerPlugin):
    """Let a worker that comes later take part only if it computes what we would; make it use one thread."""

    def __init__(self, name: str, wanted: Mapping[str, str], device: str) -> None:
        """Remember what a worker must have."""
        self.name, self.wanted, self.device = name, wanted, device

    def setup(self, worker: Any) -> None:
        """Limit the worker's numerical libraries to one thread: what is loaded, and what will be; or let it leave."""
        if fault := mismatch(worker_traits(worker, self.device), self.wanted):
            worker.loop.add_callback(worker.close, reason=fault)
            raise ParameterError(fault)
        os.environ.update(ONE_THREAD)
        threadpool_limits(1)


def worker_traits(dask_worker: Any, device: str) -> dict[str, str]:
    """Return all of a worker that shapes its results."""
    return {"threads": str(dask_worker.state.nthreads), "hardware": hardware(device), **_versions()}


def mismatch(found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """Return why a worker with these traits may not take part, nothing if it may."""
    hints = {"threads": "start it with: dask worker --nthreads 1", CODE: "start it anew"}
    for name, value in wanted.items():
        if value != found.get(name):
            return f"{name} {found.get(name)}, not {value}; {hints.get(name, WRONG_NAME)}"
    return ""


def package_call(function: Callable[[], Any], version: str, here: Callable[[], str] | None) -> Callable[[], Any]:
    """Return the function as what a cluster can carry.

    Its scheduler unpickles what it passes on, and may be without fdan or have another: a function of a function
    travels whole. A worker that cannot unpickle ends in silence, so it is handed bytes.
    """
    packed = pickle.dumps((function, version, here))

    def call() -> Any:
        from pipeline.parallel._cluster import call_if_same_version

        return call_if_same_version(packed)

    return call


def call_if_same_version(packed: bytes) -> Any:
    """Call the function of a task if what it needs beside fdan is the same here as where the run was started."""
    search_plugins()  # of the worker's current folder
    try:
        function, version, here = pickle.loads(packed)
        alike = not here or version in _alike or here() == version
    except (ImportError, AttributeError, SyntaxError, OSError) as error:
        raise ParameterError(
            f"run.scheduler: a worker on {platform.node()} lacks what the run names, or cannot read it: {error}; "
            "it needs the same plugins (in plugins/ of its current folder, or on PYTHONPATH), libraries and weights"
        ) from None
    if not alike:
        raise ParameterError(
            f"run.scheduler: a worker on {platform.node()} has other plugins, libraries or weights, or had "
            f"when it was started; {WRONG_NAME}"
        )
    _alike.add(version)
    return function()


@cache  # a worker outlives edits of the files: it has what it has imported
def _versions() -> dict[str, str]:
    """Return the versions of the libraries that shape results, and the sum of this project's own files."""
    files = sorted(path for package in PROJECT for path in (ROOT / package).rglob("*.py"))
    own = digest({path.relative_to(ROOT).as_posix(): file_sha256(path) for path in files})
    # Functions that travel whole are of one Python.
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python} | {name: _version(name) for name in SHAPING} | {CODE: own[:12]}


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"


class LocalWorkerSetup(WorkerPlugin):
    """Settle a worker that was started from here."""

    name = "fdan-ours"

    def setup(self, worker: Any) -> None:
        """Take Ctrl-C away, which a terminal sends to it too: who started it will stop it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a worker's own thread is its process's first
        relax_garbage_collection()


def admit_workers(client: Client, device: str) -> WorkerAdmission:
    """Wait for the first worker, and refuse those that are not fit; return the plugin that meets those to come.

    Libraries and code are to be those of this machine, which need not be of the workers' kind, nor have their GPUs.
    """

    def left_behind(dask_scheduler: Any) -> list[str]:  # by runs that were killed; it travels whole, as a task does
        ours = [name for name in dask_scheduler.worker_plugins if name.startswith(ADMISSION)]
        return [name for name in ours if name.removeprefix(ADMISSION) not in dask_scheduler.clients]

    for name in client.run_on_scheduler(left_behind):
        client.unregister_worker_plugin(name)
    try:
        client.wait_for_workers(1, timeout=WAIT_S)
    except TimeoutError:
        raise ParameterError(f"run.scheduler: no worker has come within {WAIT_S} s; start one: dask worker") from None
    found: dict[str, dict[str, str] | Exception] = client.run(worker_traits, device=device, on_error="return")
    wanted = {"threads": "1", **_versions()}
    for address, told in sorted(found.items()):
        if isinstance(told, Exception):
            raise ParameterError(f"run.scheduler: the worker {address} cannot run fdan as it is there: {told}")
        wanted.setdefault("hardware", told["hardware"])
        if fault := mismatch(told, wanted):
            raise ParameterError(f"run.scheduler: the worker {address} has {fault}")
    plugin = WorkerAdmission(f"{ADMISSION}{client.id}", wanted, device)
    client.register_plugin(plugin)
    return plugin
