"""The detectors' contract is checked in the stage: each mistake stops the run with one line that names it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_one_line, write_short_media

from pipeline.base.errors import ContractError
from pipeline.faces.checks import check_boxes
from pipeline.faces.contract import DetectorConfig
from pipeline.faces.crops import FacesConfig
from pipeline.faces.detectors import DETECTORS, load_detector
from pipeline.faces.step import write_faces
from pipeline.media.files import ClipFiles
from pipeline.memo.extraction import ClipJob
from pipeline.parallel.pool import ExecutionConfig
from pipeline.store.clips import ClipFaces
from pipeline.store.reader import Reader
from pipeline.store.schemas import FACES

SYNCHRONOUS = ExecutionConfig(scheduler="synchronous")
PLUGIN = """
import numpy as np

def rows(*values, dtype=np.float32):
    return lambda frames: [np.asarray(values, dtype)] * len(frames)

GIVEN = {
    "right": rows([10, 8, 24, 26, 1]),
    "partly outside": rows([-5, -5, 24, 40, 1]),
    "nobody": lambda frames: [np.empty((0, 5), np.float32)] * len(frames),
    "shares": rows([0.2, 0.2, 0.6, 0.7, 1], [0.5, 0.5, 1.02, 1.01, 1]),
    "width": rows([14, 8, 10, 24, 1]),
    "height": rows([4, 18, 10, 12, 1]),
    "swapped corners": rows([24, 26, -1, -1, 1]),
    "nan": rows([10, 8, 24, float("nan"), 1]),
    "infinite score": rows([10, 8, 24, 26, float("inf")]),
    "outside": rows([200, 300, 240, 360, 1]),
    "no score": rows([10, 8, 24, 26]),
    "flat": lambda frames: [np.asarray([10, 8, 24, 26, 1], np.float32)] * len(frames),
    "flat nobody": lambda frames: [np.asarray([], np.float32)] * len(frames),
    "integers": rows([10, 8, 24, 26, 1], dtype=np.int64),
    "lists": lambda frames: [[[10, 8, 24, 26, 1]]] * len(frames),
    "nothing": lambda frames: None,
    "one array": lambda frames: [np.ones((1, 5), np.float32)],
    "mixed": lambda frames: [np.asarray([[10, 8, 24, 26, 1, 12, 12, 20, 12][:k]], np.float32) for k in (5, 9, 5)],
}

def build(config):
    return GIVEN[config.options["given"]]
"""


@pytest.fixture(autouse=True, scope="module")
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("faces")
    (folder / "plugins").mkdir()
    (folder / "plugins/given_boxes.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # workers search its plugins/, too
        patch.syspath_prepend(str(folder / "plugins"))
        yield


def write(tmp_path: Path, given: str, *, clips: int = 1, run: ExecutionConfig = SYNCHRONOUS) -> Reader[ClipFaces]:
    """Write crops of videos of 32 x 32 pixels with a plugin that gives these boxes."""
    paths = [write_short_media(tmp_path / f"{number}.mp4", sound=False) for number in range(clips)]
    jobs = [ClipJob(path.stem, path.stem, partial(ClipFiles, path, path)) for path in paths]
    config = FacesConfig(detector="given_boxes:build", options={"given": given}, frames_per_clip=3, size_px=16)
    write_faces(tmp_path / "faces.h5", jobs, config, run=run, quiet=True)
    return Reader(tmp_path / "faces.h5", schema=FACES)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("shares", "boxes that all lie within 0..1; it should give pixels: multiply them by width and height"),
        ("width", r"the box \(14, 8, 10, 24\); .*: x2 <= x1: give corners, not widths"),
        ("height", r"the box \(4, 18, 10, 12\); .*: y2 <= y1: give corners, not widths"),
        ("swapped corners", "x2 <= x1: are corners swapped"),
        ("nan", r"the row \(10, 8, 24, nan, 1\); it should give finite numbers"),
        ("infinite score", r"the row \(10, 8, 24, 26, inf\); it should give finite numbers"),
        ("outside", "outside of its frame of 32 x 32 pixels; .*give pixels of the frames that the detector gets"),
        ("no score", r"an array \(1, 4\); .*: the score is missing"),
        ("flat", r"an array \(5,\); it should give a float32 array \(n, 5\) or \(n, 9\) per frame"),
        ("flat nobody", r"reshape it to \(0, 5\) if there is no face"),
        ("integers", "int64; .*astype"),
        ("lists", "list; it should give a float32 array"),
        ("nothing", "NoneType; it should give a list of 3 arrays"),
        ("one array", "1 arrays for 3 frames; it should give one per frame"),
        ("mixed", "5 columns for some frames and 9 for others"),
    ],
)
def test_mistake_of_a_detector_stops_the_run_with_one_line(given: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=rf"^detector 'given_boxes:build' gave .*{words}") as error:
        write(tmp_path, given)
    assert_one_line(str(error.value))


def test_right_boxes_pass(tmp_path: Path) -> None:
    assert list(write(tmp_path, "right")) == list(write(tmp_path, "partly outside")) == ["0"]
    assert write(tmp_path, "nobody").attributes["absent"] == {"0": "no face was found"}
    assert write(tmp_path, "right").attributes["config"]["options"] == {"given": "right"}


@pytest.mark.slow
def test_mistake_stops_the_run_with_workers_too(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"boxes that all lie within 0\.\.1"):
        write(tmp_path, "shares", clips=3, run=ExecutionConfig(workers=2))
    assert not (tmp_path / "faces.h5").exists()


def test_x_and_y_in_the_wrong_order_are_guessed() -> None:
    boxes = [np.asarray([[10, 200, 60, 260, 1]], np.float32)]
    with pytest.raises(ContractError, match="are x and y swapped"):
        check_boxes(boxes, np.zeros((1, 100, 300, 3), np.uint8), name="a:b")


def test_stray_boxes_of_a_built_in_network_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One odd frame must not end a run: the fault is no plugin's."""
    inside, partly = [10, 20, 60, 80, 1], [-5, -5, 30, 30, 1]
    stray = [[310, 10, 330, 40, 1], [-40, 10, -2, 40, 1], [20, 10, 20, 40, 1], [20, 40, 60, 30, 1]]
    boxes = np.asarray([inside, *stray, partly], np.float32)
    monkeypatch.setitem(DETECTORS, "network", lambda config: lambda frames: [boxes for _ in frames])
    load_detector.cache_clear()
    detector = load_detector(DetectorConfig(detector="network"))
    assert callable(detector)
    (detected,) = detector(np.zeros((1, 100, 300, 3), np.uint8))
    assert detected.tolist() == [inside, partly]
    load_detector.cache_clear()
