"""Extraction in real processes: killed, stopped, starved of room, spread over a cluster; always the same file."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from distributed import Client

from pipeline.base.errors import ParameterError
from pipeline.base.files import file_sha256
from pipeline.base.provenance import PROJECT, ROOT
from pipeline.parallel._cluster import ADMISSION, WorkerAdmission, package_call

CLIPS = 60
STAGE = '''
"""A stage in miniature: every clip takes a moment and leaves a line in the log."""
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


class Place:
    """A folder with the stage, a memo and a log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "stage.py").write_text(STAGE)
        self.log, self.memo = folder / "log", folder / "memo"
        self.environment = os.environ | {"FDAN_CACHE": str(self.memo), "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}

    def start(self, *arguments: object, target: str = "out.h5", **options: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            # As a module, so that workers can import what the parent calls __main__.
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
        """Run to the end; return the file's md5."""
        process = self.start(*arguments, target=target)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        return hashlib.md5((self.folder / target).read_bytes()).hexdigest()

    def computed(self) -> list[int]:
        """Return the clips that were computed, as often as they were."""
        return [int(line.split()[0]) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def wait_for(self, clips: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.computed()) < clips:
            assert time.monotonic() < deadline, "nothing is computed"
            time.sleep(0.01)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The md5 of a run in one process that nothing disturbs."""
    return Place(tmp_path_factory.mktemp("undisturbed")).run("synchronous", 1, CLIPS)


# After so many clips: none while workers start, all of them while the file is finished and put in its place.
@pytest.mark.parametrize("moment", [0, 1, CLIPS // 3, CLIPS - 1, CLIPS])
@pytest.mark.parametrize("victim", ["stage", "worker", "group"])
def test_whoever_is_killed_the_run_ends_with_the_same_file_and_repeats_only_what_was_in_flight(
    place: Place, undisturbed: str, victim: str, moment: int
) -> None:
    process = place.start("processes", 2, CLIPS)
    place.wait_for(moment)
    if moment == 0 and victim == "worker":
        while len(psutil.Process(process.pid).children(recursive=True)) < 2:
            time.sleep(0.01)
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "stage":
        process.kill()
    else:
        lines = place.log.read_text().splitlines() if moment else []
        worker = int(lines[-1].split()[1]) if lines else psutil.Process(process.pid).children(recursive=True)[-1].pid
        os.kill(worker, signal.SIGKILL)
    process.communicate(timeout=60)
    if victim == "worker":
        assert process.returncode == 0  # it was replaced, and nobody needed to do anything
    elif (place.folder / "out.h5").exists():  # it had been finished
        assert moment == CLIPS
    assert place.run("processes", 2, CLIPS) == undisturbed
    in_flight = 2 * 4 + 2  # as many as are started ahead
    assert set(place.computed()) == set(range(CLIPS))
    assert len(place.computed()) <= CLIPS + in_flight
    assert not list(place.folder.glob(".*.h5"))


def test_a_killed_stage_leaves_no_process_behind(place: Place) -> None:
    process = place.start("processes", 2, 500)
    place.wait_for(10)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.kill()
    process.communicate(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


@pytest.mark.parametrize("scheduler", ["synchronous", "processes"])
def test_ctrl_c_stops_soon_in_one_line_and_keeps_what_is_done(place: Place, scheduler: str) -> None:
    process = place.start(scheduler, 2, 500)
    place.wait_for(30)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - start < 5
    assert process.returncode == 130
    assert "stopped; what is done is kept" in errors
    assert "Traceback" not in errors
    done = len(list(place.memo.rglob("*.entry")))
    assert done >= 30 - 10
    before = len(place.computed())
    place.run("synchronous", 1, 30)
    assert len(place.computed()) - before <= 10


def test_one_two_and_no_workers_give_one_file(place: Place, undisturbed: str) -> None:
    for workers in (1, 2):
        other = place.folder / f"{workers}"
        other.mkdir()
        assert Place(other).run("processes", workers, CLIPS) == undisturbed


class Cluster:
    """A scheduler that was started by hand, in another folder and without fdan."""

    def __init__(self, place: Place) -> None:
        self._place, self.folder = place, place.folder / "elsewhere"
        self.folder.mkdir()
        (self.folder / "sitecustomize.py").write_text("import sys; sys.modules['pipeline'] = None")
        file = place.folder / "scheduler.json"
        self._file = ["--scheduler-file", str(file)]
        self.scheduler = self._dask("scheduler", "--port", "0", PYTHONPATH=str(self.folder))
        self.started = [self.scheduler]
        while not file.exists() or not file.read_text():
            time.sleep(0.1)
        self.address: str = json.loads(file.read_text())["address"]

    def join(self, *, threads: int = 1, **environment: str) -> "subprocess.Popen[bytes]":
        """Start a worker."""
        self.started.append(self._dask("worker", "--nthreads", str(threads), **environment))
        return self.started[-1]

    def _dask(self, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("dask")), *command, *self._file, "--dashboard-address", ":0"],
            cwd=self.folder,
            env=self._place.environment | environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )


@pytest.fixture
def empty_cluster(place: Place) -> Iterator[Cluster]:
    """A cluster without workers."""
    cluster = Cluster(place)
    yield cluster
    for process in cluster.started[::-1]:
        process.terminate()
        process.wait(30)


@pytest.fixture
def cluster(empty_cluster: Cluster) -> Cluster:
    """A cluster with two workers."""
    empty_cluster.join()
    empty_cluster.join()
    return empty_cluster


def test_a_cluster_that_was_started_by_hand_gives_the_same_file(
    place: Place, undisturbed: str, cluster: Cluster
) -> None:
    assert place.run(cluster.address, 1, CLIPS) == undisturbed
    assert len({line.split()[1] for line in place.log.read_text().splitlines()}) == 2


def test_a_scheduler_that_dies_is_one_line_and_the_next_run_goes_on(
    place: Place, undisturbed: str, cluster: Cluster
) -> None:
    process = place.start(cluster.address, 1, CLIPS)
    place.wait_for(CLIPS // 3)
    cluster.scheduler.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: the Dask scheduler is lost; what is done is kept" in " ".join(errors.split())
    assert "Traceback" not in errors
    assert place.run("synchronous", 1, CLIPS) == undisturbed
    assert len(place.computed()) <= CLIPS + 2 * 4 + 2


def test_a_worker_that_comes_later_and_would_compute_otherwise_takes_no_part(place: Place, cluster: Cluster) -> None:
    process = place.start(cluster.address, 1, 8000)  # more than can be done before the worker has come
    place.wait_for(3)
    stranger = cluster.join(threads=2)
    stranger.wait(timeout=60)
    assert process.poll() is None  # it left while work was going on
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert len({line.split()[1] for line in place.log.read_text().splitlines()}) <= 2


# What a worker runs when it starts, to be unlike us.
UNLIKE = {
    "nothing": "import sys; sys.modules['pipeline.parallel._cluster'] = None",
    "python": "import platform; platform.python_version_tuple = lambda: ('3', '99', '0')",
    "processor": "import pipeline.devices; pipeline.devices._processor = lambda: 'an abacus'",
    "library": "from importlib import metadata; was = metadata.version\n"
    "metadata.version = lambda name: '0.0' if name == 'librosa' else was(name)",
}


def unlike(place: Place, kind: str) -> str:
    """Return the search path of a worker that is unlike us."""
    other = place.folder / "other"
    other.mkdir()
    if kind in UNLIKE:
        (other / "sitecustomize.py").write_text(UNLIKE[kind])
    return f"{other}{os.pathsep}{place.environment['PYTHONPATH']}"


def test_what_a_cluster_computes_is_kept_as_its_processors_own(
    place: Place, undisturbed: str, empty_cluster: Cluster
) -> None:
    empty_cluster.join(PYTHONPATH=unlike(place, "processor"))
    other = place.run(empty_cluster.address, 1, CLIPS)
    assert other != undisturbed  # the file tells its fingerprint
    assert place.run("synchronous", 1, CLIPS) == undisturbed
    assert len(place.computed()) == 2 * CLIPS
    assert place.run(empty_cluster.address, 1, CLIPS) == other
    assert len(place.computed()) == 2 * CLIPS


def test_worker_with_other_plugins_computes_nothing(place: Place, empty_cluster: Cluster) -> None:
    own = place.folder / "other"
    own.mkdir()
    (own / "stage.py").write_text(STAGE.replace("normal(", "uniform("))
    empty_cluster.join(PYTHONPATH=f"{own}{os.pathsep}{place.environment['PYTHONPATH']}")
    process = place.start(empty_cluster.address, 1, 3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "has other plugins, libraries or weights" in " ".join(errors.split())
    assert "Traceback" not in errors
    assert place.computed() == []
    # A worker that was started before an edit runs the code as it was then.
    (place.folder / "stage.py").write_text(STAGE)
    empty_cluster.started.pop().terminate()
    empty_cluster.join()
    place.run(empty_cluster.address, 1, 3)
    (place.folder / "stage.py").write_text(STAGE.replace("normal(", "uniform("))
    process = place.start(empty_cluster.address, 1, 3)
    _, errors = process.communicate(timeout=60)
    assert "has other plugins, libraries or weights" in " ".join(errors.split())
    assert place.computed() == [0, 1, 2]


def test_a_run_that_was_killed_leaves_nothing_that_sends_later_workers_away(
    place: Place, undisturbed: str, cluster: Cluster
) -> None:
    process = place.start(cluster.address, 1, CLIPS)
    place.wait_for(3)
    process.kill()
    process.communicate(timeout=60)
    with Client(cluster.address) as client:  # as an upgrade of all machines would look to what was left behind
        with pytest.raises(ParameterError, match="threads 1, not one"):
            client.register_plugin(WorkerAdmission(f"{ADMISSION}{process.pid}", {"threads": "one"}, "cpu"))
        while client.nthreads():
            time.sleep(0.1)
    process = place.start(cluster.address, 1, CLIPS)
    time.sleep(2)
    cluster.join()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert hashlib.md5((place.folder / "out.h5").read_bytes()).hexdigest() == undisturbed


def test_worker_without_the_plugins_is_one_line(place: Place, empty_cluster: Cluster) -> None:
    empty_cluster.join(PYTHONPATH=str(ROOT))
    process = place.start(empty_cluster.address, 1, 3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert (
        "lacks what the run names, or cannot read it: No module named 'stage'; it needs the same plugins"
        in " ".join(errors.split())
    )
    assert "Traceback" not in errors


def test_worker_finds_plugins_in_its_current_folder(place: Place, undisturbed: str, empty_cluster: Cluster) -> None:
    plugins = empty_cluster.folder / "plugins"
    plugins.mkdir()
    (plugins / "stage.py").write_text(STAGE)
    empty_cluster.join(PYTHONPATH=str(ROOT))
    assert place.run(empty_cluster.address, 1, CLIPS) == undisturbed
    assert len((plugins / "log").read_text().splitlines()) == CLIPS


def test_a_worker_without_the_weights_is_one_line(tmp_path: Path) -> None:
    carried = package_call(partial(int, 1), "a version", partial(file_sha256, tmp_path / "weights.pth"))
    with pytest.raises(ParameterError, match=r"lacks what the run names, or cannot read it: .*weights\.pth"):
        carried()


@pytest.mark.parametrize("kind", ["threads", "code", *UNLIKE])
def test_a_worker_that_would_compute_otherwise_is_refused(place: Place, cluster: Cluster, kind: str) -> None:
    search = unlike(place, kind)
    if kind == "code":
        for package in PROJECT:
            shutil.copytree(ROOT / package, place.folder / "other" / package)
        (place.folder / "other/pipeline/sampling.py").write_text("")
    cluster.join(threads=1 + (kind == "threads"), PYTHONPATH=search)
    with Client(cluster.address) as client:
        client.wait_for_workers(3, timeout=60)
    process = place.start(cluster.address, 1, 3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    said = {
        "threads": "has threads 2, not 1; start it with: dask worker --nthreads 1",
        "code": "has fdan's code",
        "library": "has librosa",
        "python": "has python 3.99, not 3.",
        "processor": "has hardware",
        "nothing": "cannot run fdan as it is there: ModuleNotFoundError",
    }
    assert said[kind] in " ".join(errors.split())
    assert "Traceback" not in errors


def test_an_address_where_nobody_answers_is_one_line(place: Place) -> None:
    process = place.start("tcp://127.0.0.1:9", 1, 3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: run.scheduler: no Dask scheduler answers at tcp://127.0.0.1:9" in " ".join(errors.split())
    assert "Traceback" not in errors


def test_runs_at_the_same_time_share_one_memo(place: Place, undisturbed: str) -> None:
    some = [str(number) for number in range(CLIPS // 2, 2 * CLIPS)]  # another experiment, on half of these clips
    experiments = {"a": [str(CLIPS)], "b": [str(CLIPS)], "c": some}
    runs = {name: place.start("processes", 2, *asked, target=f"{name}.h5") for name, asked in experiments.items()}
    for process in runs.values():
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    for name in "ab":
        assert hashlib.md5((place.folder / f"{name}.h5").read_bytes()).hexdigest() == undisturbed
    assert set(place.computed()) == set(range(2 * CLIPS))
    assert len(list(place.memo.rglob("*.entry"))) == 2 * CLIPS
    alone = hashlib.md5((place.folder / "c.h5").read_bytes()).hexdigest()
    shutil.rmtree(place.memo)
    assert place.run("synchronous", 1, *some) == alone


def test_a_cluster_whose_workers_have_all_left_is_waited_for_and_told(place: Place, cluster: Cluster) -> None:
    process = place.start(cluster.address, 1, 300)
    place.wait_for(3)
    for worker in cluster.started[1:]:
        worker.terminate()
    told = ""
    too_long = threading.Timer(60, process.kill)
    too_long.start()
    while "no worker is left" not in told:
        line = process.stderr.readline() if process.stderr else ""
        assert line, told
        told += line
    too_long.cancel()
    cluster.join()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, told + errors
    assert set(place.computed()) == set(range(300))


def test_of_two_hundred_clips_one_more_costs_one_and_one_less_none(place: Place) -> None:
    numbers = list(range(200))
    place.run("synchronous", 1, *numbers[:-1])
    place.log.unlink()
    place.run("synchronous", 1, *numbers)
    assert place.computed() == [199]
    place.log.unlink()
    place.run("synchronous", 1, *numbers[1:])
    assert place.computed() == []


@pytest.mark.parametrize("what", ["memo", "store"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(place: Place, undisturbed: str, what: str) -> None:
    limit = 3000 if what == "memo" else 60_000  # bytes a file may have: an entry has up to 16,000, the store more
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
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert ("cannot write to the memo" if what == "memo" else "out.h5 cannot be written") in process.stderr
    assert not list(place.folder.glob("*.h5"))
    assert place.run("synchronous", 1, CLIPS) == undisturbed
