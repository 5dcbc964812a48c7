"""Checks on the workers of a Dask cluster, which must give the same results as this machine's code and libraries."""

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

WORKER_TIMEOUT_S = 60
ADMISSION_PREFIX = "fdan-admission-"
CODE = "fdan's code"
LIBRARIES = (  # all that can change a result
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
HOW_TO_FIX = {
    "threads": "start it with: dask worker --nthreads 1",
    "hardware": "use workers with the same hardware",
    CODE: "install the same version and restart it",
}
_matching_versions: set[str] = set()  # the step versions that this worker process has already confirmed


def admit_workers(client: Client, device: str) -> "WorkerAdmission":
    """Wait for the first worker, check all workers, and register a plugin that checks later ones; return the plugin.

    Code and libraries must equal those of this machine. The hardware must be the same on all workers, but this
    machine's may differ. Raise `ParameterError` if no worker joins in time, or if a worker does not fit.
    """

    # Dask sends a nested function by value, so the scheduler does not need to have fdan installed.
    def plugins_of_killed_runs(dask_scheduler: Any) -> list[str]:
        admissions = [name for name in dask_scheduler.worker_plugins if name.startswith(ADMISSION_PREFIX)]
        return [name for name in admissions if name.removeprefix(ADMISSION_PREFIX) not in dask_scheduler.clients]

    for name in client.run_on_scheduler(plugins_of_killed_runs):
        client.unregister_worker_plugin(name)
    try:
        client.wait_for_workers(1, timeout=WORKER_TIMEOUT_S)
    except TimeoutError:
        raise ParameterError(
            f"run.scheduler: no worker has joined within {WORKER_TIMEOUT_S} s; start one: dask worker"
        ) from None
    answers: dict[str, dict[str, str] | Exception] = client.run(worker_traits, device=device, on_error="return")
    required = {"threads": "1", **_versions()}
    for address, traits in sorted(answers.items()):
        if isinstance(traits, Exception):
            raise ParameterError(
                f"run.scheduler: the worker {address} cannot run fdan: {traits}; install this version of fdan there"
            )
        required.setdefault("hardware", traits["hardware"])
        if reason := mismatch(traits, required):
            raise ParameterError(f"run.scheduler: the worker {address} has {reason}")
    plugin = WorkerAdmission(f"{ADMISSION_PREFIX}{client.id}", required, device)
    client.register_plugin(plugin)
    return plugin


class WorkerAdmission(WorkerPlugin):
    """Check a worker when it joins: limit it to one thread, or close it if its results would differ."""

    def __init__(self, name: str, required: Mapping[str, str], device: str) -> None:
        """Store the traits that every worker must have, and the device that it computes on."""
        self.name, self.required, self.device = name, required, device

    def setup(self, worker: Any) -> None:
        """Limit numerical libraries to one thread, both loaded and future ones; close a worker that does not fit."""
        if reason := mismatch(worker_traits(worker, self.device), self.required):
            worker.loop.add_callback(worker.close, reason=reason)
            raise ParameterError(reason)
        os.environ.update(ONE_THREAD)
        threadpool_limits(1)


class LocalWorkerSetup(WorkerPlugin):
    """Prepare a worker process that this run has started on this machine."""

    name = "fdan-local-setup"

    def setup(self, worker: Any) -> None:
        """Ignore Ctrl-C, which a terminal sends to workers too: the parent process stops them."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # allowed, because `setup` runs in the process's main thread
        relax_garbage_collection()


def worker_traits(dask_worker: Any, device: str) -> dict[str, str]:
    """Return everything about a worker that can change a result: threads, hardware, versions of code and libraries."""
    return {"threads": str(dask_worker.state.nthreads), "hardware": hardware(device), **_versions()}


def mismatch(traits: Mapping[str, str], required: Mapping[str, str]) -> str:
    """Return the first difference between a worker's traits and the required ones, or an empty string."""
    for name, value in required.items():
        if value != traits.get(name):
            hint = HOW_TO_FIX.get(name, "install the same version there")
            return f"{name} {traits.get(name)}, not {value}; {hint}"
    return ""


@cache  # a worker keeps running the code that it has imported, even if the files are edited
def _versions() -> dict[str, str]:
    """Return the versions of Python and of all libraries that can change a result, and a digest of this project."""
    files = sorted(path for package in PROJECT for path in (ROOT / package).rglob("*.py"))
    code = digest({path.relative_to(ROOT).as_posix(): file_sha256(path) for path in files})
    # A function that is sent by value runs only on the same Python version.
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python} | {name: _library_version(name) for name in LIBRARIES} | {CODE: code[:12]}


def _library_version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"


def package_call(
    function: Callable[[], Any], version: str, worker_version: Callable[[], str] | None
) -> Callable[[], Any]:
    """Return a call of `function` that Dask can send to any worker; see `call_if_same_version`.

    The scheduler unpickles every task, even if it lacks fdan or has another version of it, so the call is a nested
    function, which is sent by value. A worker that fails to unpickle a task does not report the error, so the call
    carries bytes and unpickles them itself.
    """
    packed = pickle.dumps((function, version, worker_version))

    def call() -> Any:
        from pipeline.parallel._cluster import call_if_same_version

        return call_if_same_version(packed)

    return call


def call_if_same_version(packed: bytes) -> Any:
    """Unpack and call a function on a worker, if `worker_version()` returns `version` there.

    Otherwise the memo would store the result of other plugins, libraries or weights under the key of this run's.
    Raise `ParameterError` if the versions differ, or if the worker lacks something that the function needs.
    """
    search_plugins()  # of the worker's current folder
    try:
        function, version, worker_version = pickle.loads(packed)
        is_same = not worker_version or version in _matching_versions or worker_version() == version
    except (ImportError, AttributeError, SyntaxError, OSError) as error:
        raise ParameterError(
            f"run.scheduler: a worker on {platform.node()} cannot load what this run needs: {error}; "
            "it needs the same plugins (in plugins/ of its current folder, or on PYTHONPATH), libraries and weights"
        ) from None
    if not is_same:
        raise ParameterError(
            f"run.scheduler: a worker on {platform.node()} has other plugins, libraries or weights than this machine; "
            "update them and restart the worker"
        )
    _matching_versions.add(version)
    return function()
