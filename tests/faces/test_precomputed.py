"""Boxes from other tools: the rows of a table belong to the right frames of the right clip."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_media
from numpy.typing import NDArray

from pipeline.base.errors import ClipError, ParameterError
from pipeline.base.params import check
from pipeline.faces.contract import DetectorConfig
from pipeline.faces.crops import FacesConfig, extract_faces
from pipeline.faces.detectors import weights_digest
from pipeline.faces.precomputed import Tables

FRAMES = 25


@pytest.fixture
def clip(tmp_path: Path, grey_levels: NDArray[np.uint8]) -> Path:
    grey_levels[:, -8:, -8:] = 255  # a picture of one colour counts as none
    return write_media(tmp_path / "corpus" / "DC" / "a01.mp4", frames=grey_levels)


def open_face(left: float) -> pd.DataFrame:
    """Frame i's landmarks span x from left + i to left + i + 20, and y from 5 to 35; frame 23 shows none."""
    frames = np.arange(1, FRAMES + 1)
    table = {
        "frame": frames,
        " timestamp": (frames - 1) / 25,
        " confidence": 0.9,
        " success": (frames != 23).astype(int),
    }
    for point in range(68):
        table[f" x_{point}"] = left + frames - 1 + 20 * point / 67
        table[f" y_{point}"] = 5 + 30 * point / 67
    return pd.DataFrame(table)


def py_feat(clip: str, left: float) -> pd.DataFrame:
    """Frame i has a face at left + i, and every fifth frame a second one with a low score."""
    frames = np.arange(FRAMES)
    sure = pd.DataFrame({"frame": frames, "FaceRectX": left + frames, "FaceScore": 0.95})
    unsure = pd.DataFrame({"frame": frames[::5], "FaceRectX": 40.0, "FaceScore": 0.3})
    lost = pd.DataFrame(
        {"frame": [3], "FaceRectX": [np.nan], "FaceScore": [np.nan]}
    )  # as it writes a frame without any
    table = pd.concat([sure[sure["frame"] != 3], unsure, lost])
    return table.assign(FaceRectY=10.0, FaceRectWidth=20.0, FaceRectHeight=30.0, input=clip)


def config(boxes: Path, **options: object) -> FacesConfig:
    return FacesConfig.model_validate({"detector": "precomputed", "boxes": str(boxes), "fill_gaps": 0, **options})


def test_landmarks_of_open_face_become_boxes_of_the_sampled_frames(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "boxes").mkdir()
    open_face(2).to_csv(tmp_path / "boxes" / "a01.csv", index=False)
    result = extract_faces(clip, config(tmp_path / "boxes", frames_per_clip=5))
    # Of 25 frames 2, 7, 12, 17 and 22 are taken; OpenFace calls 22 the 23rd, and shows nothing there.
    np.testing.assert_allclose(result.times, np.asarray([2, 7, 12, 17]) / 25, atol=1e-6)
    np.testing.assert_allclose(result.boxes, [[2 + n, 5, 22 + n, 35, 0.9] for n in (2, 7, 12, 17)], rtol=1e-5)


def test_the_eyes_of_open_face_level_the_crops(tmp_path: Path, clip: Path) -> None:
    open_face(2).to_csv(tmp_path / "a01.csv", index=False)
    angles = extract_faces(clip, config(tmp_path, frames_per_clip=5, align="eyes")).angles
    np.testing.assert_allclose(angles, np.degrees(np.arctan2(30, 20)), rtol=1e-4)  # as all points lie on one line


def test_one_table_of_py_feat_can_hold_all_clips(tmp_path: Path, clip: Path) -> None:
    tables = [py_feat("/elsewhere/JE/a01.mp4", 30), py_feat("/elsewhere/DC/a01.mp4", 1), py_feat("DC/b.mp4", 9)]
    pd.concat(tables).to_parquet(tmp_path / "all.parquet")
    result = extract_faces(clip, config(tmp_path / "all.parquet"))
    frames = np.round(result.times * 25)
    expected = [[1 + frame, 10, 21 + frame, 40, 0.95] for frame in frames]
    np.testing.assert_allclose(result.boxes, expected, rtol=1e-5)
    assert set(result.face_counts) == {1}
    assert 3 not in frames


def test_two_clips_of_one_name_have_separate_tables(tmp_path: Path, clip: Path) -> None:
    boxes = tmp_path / "boxes"
    for speaker, left in (("DC", 1), ("JE", 30)):
        (boxes / speaker).mkdir(parents=True)
        py_feat("", left).to_csv(boxes / speaker / "a01.csv")
    result = extract_faces(clip, config(boxes))
    np.testing.assert_allclose(result.boxes[:, 0], 1 + np.round(result.times * 25))


def test_a_missing_table_and_an_unknown_table_are_named(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "b.csv").write_text("frame,x\n1,2\n")
    with pytest.raises(ClipError, match=r"holds no table of it \(a01\.csv or a01\.parquet\)"):
        extract_faces(clip, config(tmp_path))
    (tmp_path / "a01.csv").write_text("frame,x\n1,2\n")
    with pytest.raises(ParameterError, match=r"a01\.mp4 .* neither the columns of OpenFace .* nor of py-feat"):
        extract_faces(clip, config(tmp_path))
    py_feat("x/other.mp4", 1).to_csv(tmp_path / "all.csv")
    with pytest.raises(ClipError, match="holds no boxes of it"):
        extract_faces(clip, config(tmp_path / "all.csv"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"FaceRectY": None}, "has 0 columns 'FaceRectY', not one"),
        ({"frame": None}, "has 0 columns 'frame', not one"),
        ({" frame": 1}, "has 2 columns 'frame', not one"),
        ({"FaceScore": "sure"}, "holds a value that is no number: could not convert string to float: 'sure'"),
    ],
)
def test_a_table_without_numbers_is_named(tmp_path: Path, clip: Path, change: dict[str, object], words: str) -> None:
    table = py_feat("", 1).assign(**change).dropna(axis="columns", how="all")
    table.to_csv(tmp_path / "a01.csv", index=False)
    with pytest.raises(ParameterError, match=rf"^faces\.boxes: the table of a01\.mp4 in .* {words}"):
        extract_faces(clip, config(tmp_path))


def test_a_table_of_all_clips_may_be_empty_or_name_clips_by_numbers(tmp_path: Path, clip: Path) -> None:
    table = py_feat("x", 1)
    for number, unnamed in enumerate((table[:0], table.assign(input=7), table.assign(input=np.nan))):
        unnamed.to_csv(tmp_path / f"{number}.csv", na_rep="nan")
        with pytest.raises(ClipError, match="holds no boxes of it"):
            extract_faces(clip, config(tmp_path / f"{number}.csv"))
    table.assign(**{" input": "x"}).to_csv(tmp_path / "twice.csv")
    with pytest.raises(ParameterError, match=r"twice\.csv has several columns `input`"):
        extract_faces(clip, config(tmp_path / "twice.csv"))


def test_other_tables_have_another_digest(tmp_path: Path) -> None:
    folder = tmp_path / "boxes"
    folder.mkdir()
    settings = DetectorConfig(detector="precomputed", boxes=str(folder))
    with pytest.raises(ParameterError, match=r"is neither a table \(\.csv, \.parquet\) nor a folder of them"):
        weights_digest(settings)
    (folder / "a.csv").write_text("frame")
    first = weights_digest(settings)
    (folder / "a.csv").rename(folder / "b.csv")
    assert weights_digest(settings) != first


def test_tables_and_their_detector_need_each_other() -> None:
    for values in ({"detector": "precomputed"}, {"boxes": "somewhere"}):
        with pytest.raises(ParameterError, match="set both or neither"):
            check(values, FacesConfig, where="params.yaml: faces")


@pytest.mark.parametrize("change", [{"FaceRectX": np.nan}, {"FaceRectWidth": 0.0}, {"FaceRectWidth": 1e9}])
def test_a_box_that_cannot_be_cropped_is_refused(tmp_path: Path, clip: Path, change: dict[str, float]) -> None:
    py_feat("", 1).assign(**change).to_csv(tmp_path / "a01.csv")
    with pytest.raises(ClipError, match=r"^faces\.boxes: a box of it is empty, not finite, or larger than"):
        extract_faces(clip, config(tmp_path))


def test_a_pipe_among_the_tables_and_a_clip_with_a_long_name_have_no_boxes(tmp_path: Path) -> None:
    open_face(2).to_csv(tmp_path / "a01.csv", index=False)
    before = weights_digest(config(tmp_path))
    os.mkfifo(tmp_path / "a02.csv")
    assert weights_digest(config(tmp_path)) == before
    for name in ("a02", "a" * 251):
        with pytest.raises(ClipError, match=f"holds no table of it \\({name}"):
            Tables(tmp_path, 0.5).boxes(Path(f"/clips/{name}.mp4"), np.zeros(1, np.float32))


def test_a_parquet_file_whose_metadata_are_odd_is_one_line(tmp_path: Path) -> None:
    table = pa.table({"frame": [0]}).replace_schema_metadata({b"pandas": b'{"index_columns": []}'})
    pq.write_table(table, tmp_path / "a01.parquet")
    with pytest.raises(ParameterError, match=r"^faces\.boxes: .*a01\.parquet cannot be read: [^\n]+$"):
        Tables(tmp_path, 0.5).boxes(Path("/clips/a01.mp4"), np.zeros(1, np.float32))
