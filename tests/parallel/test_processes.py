"""Extraction in real processes gives the same file when it is killed, stopped, out of disk space, or on a cluster."""

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Client
from ruamel.yaml import YAML

from pipeline.base.errors import ClipError, ParameterError
from pipeline.base.files import file_sha256
from pipeline.base.provenance import PROJECT, ROOT
from pipeline.parallel._cluster import ADMISSION_PREFIX, WorkerAdmission, package_call
from pipeline.parallel.pool import ExecutionConfig, Pool

pytestmark = pytest.mark.slow

CLIPS = 60
STAGE = '''
"""A small stage: every clip takes 0.03 s and writes a line to the log."""
import os, sys, time
from functools import partial
from pathlib import Path
import numpy as np
from pipeline.memo.extraction import ClipJob, Step, extract_to_file
from pipeline.parallel.pool import ExecutionConfig, Pool
from stages import run_stage

LOG = Path(__file__).with_name("log")

def compute(number):
    with LOG.open("a") as file:
        file.write(f"{number} {os.getpid()}\\n")
    time.sleep(0.03)
    return {"values": np.random.default_rng(number).normal(size=(number % 5, 1000)).astype(np.float32)}

def main():
    scheduler, workers, target, *clips = sys.argv[1:]
    numbers = range(int(clips[0])) if len(clips) == 1 else map(int, clips)
    jobs = [ClipJob(f"clip{n:03}", f"content {n}", partial(int, n)) for n in numbers]
    like = {"values": np.empty((0, 1000), np.float32)}
    config = ExecutionConfig(scheduler=scheduler, workers=int(workers))
    with Pool(config) as pool:
        step = Step("test", compute, compute, params={}, libraries=("numpy",), hardware=pool.hardware)
        extract_to_file(Path(target), jobs, step, like=like, attributes={"schema": "fdan.test/1"}, pool=pool)

if __name__ == "__main__":
    run_stage(main)
'''


class Workspace:
    """A folder with the stage, a memo and a log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stage.py").write_text(STAGE)
        self.log, self.memo = folder / "log", folder / "memo"
        self.environment = os.environ | {"FDAN_CACHE": str(self.memo), "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}

    def start(self, *arguments: object, target: str = "out.h5", **options: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            # The stage is imported as a module, so that workers can import it too.
            [sys.executable, "-c", "import stage; stage.run_stage(stage.main)", *map(str, arguments[:2]), target]
            + [*map(str, arguments[2:])],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,  # type: ignore[call-overload]
        )

    def run(self, *arguments: object, target: str = "out.h5") -> str:
        """Run to the end; return the md5 of the output file."""
        process = self.start(*arguments, target=target)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        return hashlib.md5((self.folder / target).read_bytes()).hexdigest()

    def computed(self) -> list[int]:
        """Return the number of each clip that was computed; a clip that was computed twice appears twice."""
        return [int(line.split()[0]) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def wait_for(self, clips: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.computed()) < clips:
            assert time.monotonic() < deadline, "no clip is computed"
            time.sleep(0.01)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The md5 of the file of an undisturbed run in one process."""
    return Workspace(tmp_path_factory.mktemp("undisturbed")).run("synchronous", 1, CLIPS)


# `moment` counts the clips that are done: with 0, workers are starting; with all, the file is being finished.
@pytest.mark.parametrize("moment", [0, CLIPS // 3, CLIPS])
@pytest.mark.parametrize("victim", ["stage", "worker", "group"])
def test_killed_run_ends_with_the_same_file_and_repeats_only_clips_in_flight(
    workspace: Workspace, undisturbed: str, victim: str, moment: int
) -> None:
    process = workspace.start("processes", 2, CLIPS)
    workspace.wait_for(moment)
    if moment == 0 and victim == "worker":
        while len(psutil.Process(process.pid).children(recursive=True)) < 2:
            time.sleep(0.01)
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "stage":
        process.kill()
    else:
        lines = workspace.log.read_text().splitlines() if moment else []
        worker = int(lines[-1].split()[1]) if lines else psutil.Process(process.pid).children(recursive=True)[-1].pid
        os.kill(worker, signal.SIGKILL)
    process.communicate(timeout=60)
    if victim == "worker":
        assert process.returncode == 0  # Dask has replaced the worker
    elif (workspace.folder / "out.h5").exists():  # the file was finished before the kill
        assert moment == CLIPS
    assert workspace.run("synchronous", 1, CLIPS) == undisturbed
    in_flight = 2 * 4 + 2  # four jobs per worker are started ahead
    assert set(workspace.computed()) == set(range(CLIPS))
    assert len(workspace.computed()) <= CLIPS + in_flight
    assert not list(workspace.folder.glob(".*.h5"))


def test_killed_stage_leaves_no_process_running(workspace: Workspace) -> None:
    process = workspace.start("processes", 2, 500)
    workspace.wait_for(10)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.kill()
    process.communicate(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


@pytest.mark.parametrize("scheduler", ["synchronous", "processes"])
def test_ctrl_c_stops_within_seconds_and_keeps_finished_clips(workspace: Workspace, scheduler: str) -> None:
    process = workspace.start(scheduler, 2, 500)
    workspace.wait_for(30)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert "stopped; finished work is kept" in errors
    assert "Traceback" not in errors
    done = len(list(workspace.memo.rglob("*.entry")))
    assert done >= 30 - 10
    before = len(workspace.computed())
    workspace.run("synchronous", 1, 30)
    assert len(workspace.computed()) - before <= 10


def test_ctrl_c_stops_the_workers_even_if_nobody_reads_the_messages(workspace: Workspace) -> None:
    process = workspace.start("processes", 2, 500)
    workspace.wait_for(10)
    family = psutil.Process(process.pid).children(recursive=True)
    assert process.stderr is not None
    process.stderr.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def test_number_of_workers_does_not_change_the_file(workspace: Workspace, undisturbed: str) -> None:
    for workers in (1, 2):
        folder = workspace.folder / f"{workers}"
        folder.mkdir()
        assert Workspace(folder).run("processes", workers, CLIPS) == undisturbed


class Cluster(ExitStack):
    """A scheduler that was started by hand, in another folder and without fdan."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace, self.folder = workspace, workspace.folder / "elsewhere"
        self.folder.mkdir()
        (self.folder / "sitecustomize.py").write_text("import sys; sys.modules['pipeline'] = None")
        file = workspace.folder / "scheduler.json"
        self._file = ["--scheduler-file", str(file)]
        self.scheduler = self._dask("scheduler", "--port", "0", PYTHONPATH=str(self.folder))
        while not file.exists() or not file.read_text():
            time.sleep(0.1)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.address: str = json.loads(file.read_text())["address"]

    def join(self, *, threads: int = 1, nanny: bool = False, **environment: str) -> "subprocess.Popen[bytes]":
        """Start a worker; a nanny would start it again if it dies."""
        options = ["--nthreads", str(threads), "--nanny" if nanny else "--no-nanny", "--death-timeout", "60"]
        return self._dask("worker", *options, **environment)

    def _dask(self, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("dask")), *command, *self._file, "--no-dashboard"],
            cwd=self.folder,
            env=self._workspace.environment | environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self.callback(process.wait, 30)
        self.callback(process.terminate)
        return process


@pytest.fixture
def empty_cluster(workspace: Workspace) -> Iterator[Cluster]:
    """A cluster without workers."""
    with Cluster(workspace) as cluster:
        yield cluster


@pytest.fixture
def cluster(empty_cluster: Cluster) -> Cluster:
    """A cluster with two workers."""
    empty_cluster.workers = [empty_cluster.join(), empty_cluster.join()]
    return empty_cluster


def test_cluster_gives_the_same_file(workspace: Workspace, undisturbed: str, cluster: Cluster) -> None:
    assert workspace.run(cluster.address, 1, CLIPS) == undisturbed
    assert len({line.split()[1] for line in workspace.log.read_text().splitlines()}) == 2


def test_lost_scheduler_is_a_one_line_error_and_the_next_run_continues(
    workspace: Workspace, undisturbed: str, cluster: Cluster
) -> None:
    process = workspace.start(cluster.address, 1, CLIPS)
    workspace.wait_for(CLIPS // 3)
    cluster.scheduler.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: the connection to the Dask scheduler is lost; finished work is kept" in " ".join(errors.split())
    assert "Traceback" not in errors
    assert workspace.run("synchronous", 1, CLIPS) == undisturbed
    assert len(workspace.computed()) <= CLIPS + 2 * 4 + 2


def test_unfit_worker_that_joins_later_is_closed(workspace: Workspace, cluster: Cluster) -> None:
    process = workspace.start(cluster.address, 1, 8000)  # more than can be computed before the worker joins
    workspace.wait_for(3)
    unfit_worker = cluster.join(threads=2)
    unfit_worker.wait(timeout=60)
    assert process.poll() is None  # the worker left while the run went on
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert len({line.split()[1] for line in workspace.log.read_text().splitlines()}) <= 2


# Code that a worker runs at its start, so that it differs from this machine.
DIFFERENCES = {
    "nothing": "import sys; sys.modules['pipeline.parallel._cluster'] = None",
    "python": "import platform; platform.python_version_tuple = lambda: ('3', '99', '0')",
    "processor": "import pipeline.parallel.devices as devices; devices._processor = lambda: 'an abacus'",
    "library": "from importlib import metadata; was = metadata.version\n"
    "metadata.version = lambda name: '0.0' if name == 'librosa' else was(name)",
}


def different_path(workspace: Workspace, kind: str) -> str:
    """Return the PYTHONPATH of a worker that differs from this machine."""
    other = workspace.folder / "other"
    other.mkdir()
    if kind in DIFFERENCES:
        (other / "sitecustomize.py").write_text(DIFFERENCES[kind])
    return f"{other}{os.pathsep}{workspace.environment['PYTHONPATH']}"


def test_memo_keeps_results_of_other_hardware_apart(
    workspace: Workspace, undisturbed: str, empty_cluster: Cluster
) -> None:
    empty_cluster.join(PYTHONPATH=different_path(workspace, "processor"))
    other = workspace.run(empty_cluster.address, 1, CLIPS)
    assert other != undisturbed  # the file contains its fingerprint
    assert workspace.run("synchronous", 1, CLIPS) == undisturbed
    assert len(workspace.computed()) == 2 * CLIPS
    assert workspace.run(empty_cluster.address, 1, CLIPS) == other
    assert len(workspace.computed()) == 2 * CLIPS


def test_worker_with_another_version_of_a_plugin_is_refused(workspace: Workspace, empty_cluster: Cluster) -> None:
    other = workspace.folder / "other"
    other.mkdir()
    (other / "stage.py").write_text(STAGE.replace("normal(", "uniform("))
    unfit_worker = empty_cluster.join(PYTHONPATH=f"{other}{os.pathsep}{workspace.environment['PYTHONPATH']}")
    process = workspace.start(empty_cluster.address, 1, 3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "has other plugins, libraries or weights" in " ".join(errors.split())
    assert "Traceback" not in errors
    assert workspace.computed() == []
    # A worker that was started before an edit still runs the old code, so it is refused too.
    (workspace.folder / "stage.py").write_text(STAGE)
    unfit_worker.terminate()
    empty_cluster.join()
    workspace.run(empty_cluster.address, 1, 3)
    (workspace.folder / "stage.py").write_text(STAGE.replace("normal(", "uniform("))
    process = workspace.start(empty_cluster.address, 1, 3)
    _, errors = process.communicate(timeout=60)
    assert "has other plugins, libraries or weights" in " ".join(errors.split())
    assert workspace.computed() == [0, 1, 2]


def test_killed_run_does_not_keep_later_workers_away(workspace: Workspace, undisturbed: str, cluster: Cluster) -> None:
    process = workspace.start(cluster.address, 1, CLIPS)
    workspace.wait_for(3)
    process.kill()
    process.communicate(timeout=60)
    name = f"{ADMISSION_PREFIX}{process.pid}"

    def is_registered(dask_scheduler: Any) -> bool:
        return name in dask_scheduler.worker_plugins

    with Client(cluster.address) as client:  # a plugin that a killed run left, and that no worker satisfies
        with pytest.raises(ParameterError, match="threads 1, not one"):
            client.register_plugin(WorkerAdmission(name, {"threads": "one"}, "cpu"))
        while client.nthreads():
            time.sleep(0.1)
        process = workspace.start(cluster.address, 1, CLIPS)
        while client.run_on_scheduler(is_registered):
            assert process.poll() is None
            time.sleep(0.1)
    cluster.join()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert hashlib.md5((workspace.folder / "out.h5").read_bytes()).hexdigest() == undisturbed


def test_worker_without_a_plugin_is_a_one_line_error(workspace: Workspace, empty_cluster: Cluster) -> None:
    empty_cluster.join(PYTHONPATH=str(ROOT))
    process = workspace.start(empty_cluster.address, 1, 3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot load what this run needs: No module named 'stage'; it needs the same plugins" in " ".join(
        errors.split()
    )
    assert "Traceback" not in errors


def test_worker_finds_plugins_in_its_current_folder(
    workspace: Workspace, undisturbed: str, empty_cluster: Cluster
) -> None:
    plugins = empty_cluster.folder / "plugins"
    plugins.mkdir()
    (plugins / "stage.py").write_text(STAGE)
    empty_cluster.join(PYTHONPATH=str(ROOT))
    assert workspace.run(empty_cluster.address, 1, CLIPS) == undisturbed
    assert len((plugins / "log").read_text().splitlines()) == CLIPS


def test_worker_without_the_weights_is_a_one_line_error(tmp_path: Path) -> None:
    call = package_call(partial(int, 1), "a version", partial(file_sha256, tmp_path / "weights.pth"))
    with pytest.raises(ParameterError, match=r"cannot load what this run needs: .*weights\.pth"):
        call()


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with a fit worker, for tests that compute nothing on it."""
    with Cluster(Workspace(tmp_path_factory.mktemp("shared"))) as cluster:
        cluster.join()
        yield cluster


@pytest.mark.parametrize("kind", ["threads", "code", *DIFFERENCES])
def test_unfit_worker_is_refused(workspace: Workspace, shared_cluster: Cluster, kind: str) -> None:
    python_path = different_path(workspace, kind)
    if kind == "code":
        for package in PROJECT:
            shutil.copytree(ROOT / package, workspace.folder / "other" / package)
        (workspace.folder / "other/pipeline/added.py").write_text("")
    unfit_worker = shared_cluster.join(threads=1 + (kind == "threads"), PYTHONPATH=python_path)
    with Client(shared_cluster.address) as client:
        client.wait_for_workers(2, timeout=60)
    messages = {
        "threads": "has threads 2, not 1; start it with: dask worker --nthreads 1",
        "code": "has fdan's code",
        "library": "has librosa",
        "python": r"has python 3\.99, not 3\.",
        "processor": "has hardware",
        "nothing": "cannot run fdan: .*; install this version of fdan there",
    }
    with (
        Pool(ExecutionConfig(scheduler=shared_cluster.address)) as pool,
        pytest.raises(ParameterError, match=rf"^run\.scheduler: the worker tcp://\S+ {messages[kind]}"),
    ):
        pool.submit(abs, -1)
    unfit_worker.terminate()
    unfit_worker.wait(30)


def test_address_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.parallel.pool.CONNECT_TIMEOUT_S", 0.1)
    with (
        Pool(ExecutionConfig(scheduler="tcp://127.0.0.1:9")) as pool,
        pytest.raises(ParameterError, match=r"run\.scheduler: no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
    ):
        pool.submit(abs, -1)


def documented_tls(folder: Path) -> dict[str, str]:
    """Make the certificate and the configuration of docs/cluster.md in a folder; return the client's settings."""
    page = (ROOT / "docs/cluster.md").read_text().replace("/home/me", str(folder))
    for command in re.findall(r"^(?:openssl|chmod) .*", page, re.MULTILINE):
        subprocess.run(shlex.split(command), cwd=folder, check=True, capture_output=True)
    [configuration] = re.findall(r"^distributed:\n(?:  .*\n)+", page, re.MULTILINE)
    (folder / "fdan.yaml").write_text(configuration)
    tls = YAML(typ="safe").load(configuration)["distributed"]["comm"]["tls"]
    client = {f"distributed.comm.tls.client.{name}": path for name, path in tls["client"].items()}
    return client | {"distributed.comm.tls.ca-file": tls["ca-file"]}


def test_cluster_with_tls_gives_the_same_file_and_loses_only_a_worker_that_hangs(
    workspace: Workspace, undisturbed: str
) -> None:
    folder = workspace.folder / "dask"
    folder.mkdir()
    settings = documented_tls(folder)
    workspace.environment["DASK_CONFIG"] = str(folder)
    with Cluster(workspace) as cluster:
        assert cluster.address.startswith("tls://")
        worker = cluster.join()
        assert workspace.run(cluster.address, 1, CLIPS) == undisturbed
        run = ExecutionConfig(scheduler=cluster.address)
        with Pool(run) as pool, pytest.raises(ParameterError, match="tls:// needs certificates"):
            pool.submit(abs, -1)
        with dask.config.set(settings), Pool(run) as pool:
            with pytest.raises(ClipError, match="took longer"):
                pool.submit(time.sleep, 1000, timeout_s=0.1)()
            worker.wait(30)
            nanny = cluster.join(nanny=True)
            find_process = partial(pool.submit, eval, "__import__('os').getpid()")
            before = find_process()()
            with pytest.raises(ClipError, match="took longer"):
                pool.submit(time.sleep, 1000, timeout_s=0.1)()
            assert find_process()() not in (before, nanny.pid)
            assert nanny.poll() is None


def test_concurrent_runs_share_one_memo(workspace: Workspace, undisturbed: str) -> None:
    half_new = [str(number) for number in range(CLIPS // 2, 2 * CLIPS)]  # shares half of the clips
    experiments = {"a": [str(CLIPS)], "b": [str(CLIPS)], "c": half_new}
    runs = {name: workspace.start("processes", 2, *clips, target=f"{name}.h5") for name, clips in experiments.items()}
    for process in runs.values():
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    for name in "ab":
        assert hashlib.md5((workspace.folder / f"{name}.h5").read_bytes()).hexdigest() == undisturbed
    assert set(workspace.computed()) == set(range(2 * CLIPS))
    assert len(list(workspace.memo.rglob("*.entry"))) == 2 * CLIPS
    alone = hashlib.md5((workspace.folder / "c.h5").read_bytes()).hexdigest()
    shutil.rmtree(workspace.memo)
    assert workspace.run("synchronous", 1, *half_new) == alone


def test_run_waits_for_new_workers_when_all_have_left(workspace: Workspace, cluster: Cluster) -> None:
    process = workspace.start(cluster.address, 1, 300)
    workspace.wait_for(3)
    for worker in cluster.workers:
        worker.terminate()
    output = ""
    timeout = threading.Timer(60, process.kill)
    timeout.start()
    while "no worker is left" not in output:
        line = process.stderr.readline() if process.stderr else ""
        assert line, output
        output += line
    timeout.cancel()
    cluster.join()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, output + errors
    assert set(workspace.computed()) == set(range(300))


def test_new_clip_costs_one_computation_and_removed_clip_costs_none(workspace: Workspace) -> None:
    numbers = list(range(200))
    workspace.run("synchronous", 1, *numbers[:-1])
    workspace.log.unlink()
    workspace.run("synchronous", 1, *numbers)
    assert workspace.computed() == [199]
    workspace.log.unlink()
    workspace.run("synchronous", 1, *numbers[1:])
    assert workspace.computed() == []


@pytest.mark.parametrize("target", ["memo", "store"])
def test_full_disk_is_a_one_line_error_and_leaves_no_partial_file(
    workspace: Workspace, undisturbed: str, target: str
) -> None:
    limit = 3000 if target == "memo" else 60_000  # maximal bytes per file; an entry has up to 16,000, the store more
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            limited + "import stage; stage.run_stage(stage.main)",
            "synchronous",
            "1",
            "out.h5",
            str(CLIPS),
        ],
        cwd=workspace.folder,
        env=workspace.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert ("cannot write to the memo" if target == "memo" else "out.h5 cannot be written") in process.stderr
    assert not list(workspace.folder.glob("*.h5"))
    assert workspace.run("synchronous", 1, CLIPS) == undisturbed
