"""The examples in their stages: the same bytes in this process, in two processes, and on a Dask cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster
from plugin_workspace import fdan, plugin_workspace
from threadpoolctl import threadpool_limits

from benchmarks.head import write_folder
from data_manifest.manifest.jobs import clip_jobs
from pipeline.faces.crops import FacesConfig
from pipeline.faces.step import write_faces
from pipeline.heads.contract import HeadConfig
from pipeline.parallel.pool import ExecutionConfig, Pool
from pipeline.spectrograms.kinds import SpectrogramsConfig
from pipeline.spectrograms.step import write_windows
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES, WINDOWS
from pipeline.training.checkpoints import save_head
from pipeline.training.corpus import open_corpus
from pipeline.training.recipe import Recipe
from pipeline.training.runs import describe_head, read_recipe, refit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ExecutionConfig]]:
    """Ways to run, in a folder with the examples of a detector, a spectrogram and a head."""
    folder = tmp_path_factory.mktemp("stages")
    with plugin_workspace(folder):
        for word in ("detector", "spectrogram", "head"):
            assert fdan("new", word, f"my_{word}").exit_code == 0
        with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
            yield [
                ExecutionConfig(scheduler="synchronous"),
                ExecutionConfig(workers=2),
                ExecutionConfig(scheduler=cluster.scheduler_address),
            ]


def files(runs: list[ExecutionConfig], folder: Path, write: Callable[[Path, ExecutionConfig], object]) -> list[Path]:
    """Write a file in each way, without what others have computed, and check that all are the same."""
    paths = []
    for number, run in enumerate(runs):
        paths.append(folder / f"{number}.out")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FDAN_CACHE", str(folder / f"cache{number}"))
            with threadpool_limits(1):  # as in a stage
                write(paths[-1], run)
    assert len({path.read_bytes() for path in paths}) == 1
    return paths


def test_detector(runs: list[ExecutionConfig], tmp_path: Path) -> None:
    config = FacesConfig(detector="my_detector:build", options={"share": 0.5}, frames_per_clip=3, size_px=16)
    jobs = clip_jobs("visual")
    path, *_ = files(runs, tmp_path, lambda path, run: write_faces(path, jobs, config, run=run, quiet=True))
    faces = Reader(path, schema=FACES)
    assert len(faces) == 4
    for clip_id in faces:
        np.testing.assert_array_equal(faces[clip_id].boxes, [[8, 8, 24, 24, 1]] * 3)


def test_spectrogram(runs: list[ExecutionConfig], tmp_path: Path) -> None:
    config = SpectrogramsConfig(kind="my_spectrogram:build", options={"emphasis": 0.5})
    jobs = clip_jobs("acoustic")
    path, *_ = files(runs, tmp_path, lambda path, run: write_windows(path, jobs, config, run=run, quiet=True))
    windows = Reader(path, schema=WINDOWS)
    assert len(windows) == 4
    assert all(windows[clip_id].windows[0].std() > 0 for clip_id in windows)
    assert windows.attributes["config"]["options"] == {"emphasis": 0.5}


def test_head(runs: list[ExecutionConfig], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "clip_id": np.array([f"c{row:02}" for row in range(12)]),
        "speaker": np.array([f"s{row % 4}" for row in range(12)]),
        "emotion": np.array([("fear", "joy")[row // 4 % 2] for row in range(12)]),
        "sentence": np.array(["a"] * 12),
        "duration_s": np.full(12, 1.5),
        "offsets": np.arange(13) * 2,
        "times": np.arange(24) * 0.5,
        "network": rng.standard_normal((24, 5)).astype(np.float16),
    }
    write_folder(arrays, "network", tmp_path)
    corpus, recipe = open_corpus(tmp_path), read_recipe()
    recipe = Recipe(HeadConfig(name="my_head:Shallow", width=8), recipe.alignment, recipe.train)

    def write(path: Path, run: ExecutionConfig) -> None:
        with Pool(run) as pool:
            head = refit(corpus, recipe, pool, seed=0).head
        save_head(head, describe_head(corpus, recipe, {}), path)

    path, *_ = files(runs, tmp_path, write)
    assert path.stat().st_size > 1000
