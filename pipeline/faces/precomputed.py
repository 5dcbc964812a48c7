"""Boxes that another tool has found: the tables that OpenFace and py-feat write, CSV or Parquet."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ClipError, ParameterError
from pipeline.base.files import file_sha256
from pipeline.base.provenance import digest
from pipeline.faces.contract import Boxes
from pipeline.media.frames import frame_times

if TYPE_CHECKING:
    import pandas as pd


SUFFIXES = (".csv", ".parquet")
POINTS = 68  # of the face, in the usual order
EYES = (range(36, 42), range(42, 48))  # the eye that the picture shows on the left, then the other


@dataclass(frozen=True)
class Tables:
    """A folder with a table for each clip, named as the clip is, or one table with a column `input`."""

    place: Path
    min_score: float

    def digest(self) -> str:
        """Return the sha256 of all tables and their names."""
        files = [self.place] if self.place.is_file() else sorted(_tables(self.place))
        if not files:
            raise ParameterError(f"faces.boxes: {self.place} is no table (.csv, .parquet), and no folder with any")
        return digest([[str(file.relative_to(self.place)), file_sha256(file)] for file in files])

    def boxes(self, path: Path, times: NDArray[np.float32]) -> list[Boxes]:
        """Return the boxes (n, 5), or (n, 9) with the eyes, of the clip's frames at these times."""
        table = self._of_clip(path)
        if {"FaceRectX", "FaceScore"} <= set(table):
            rows, frames = _py_feat(table), table["frame"]
        elif {"success", "confidence", "x_0"} <= set(table):
            rows, frames = _open_face(table), table["frame"] - 1  # it counts from 1
        else:
            raise ParameterError(
                f"faces.boxes: the table of {path.name} in {self.place} has neither the columns of OpenFace "
                "(frame, success, confidence, x_0, y_0 …) nor of py-feat (frame, FaceRectX, FaceScore …)"
            )
        sure = rows[:, 4] >= self.min_score  # false for a frame without a face, whose score is missing
        every = frame_times(path)
        return [rows[sure & (frames == np.abs(every - time).argmin()).to_numpy()].astype(np.float32) for time in times]

    def _of_clip(self, path: Path) -> "pd.DataFrame":
        if self.place.is_file():
            table = _read(self.place)
            if "input" not in table:
                raise ParameterError(f"faces.boxes: {self.place} has no column `input` that tells the clips apart")
            name = max(table["input"].unique(), key=lambda name: _common(Path(name), path))
            if _common(Path(name), path) == 0:
                raise ClipError(f"{self.place} holds no boxes of it")
            return table[table["input"] == name]
        for depth in range(len(path.parts) - 1, 0, -1):  # the most exact name first: two speakers may have an a01
            for suffix in SUFFIXES:
                file = self.place.joinpath(*path.parts[-depth:]).with_suffix(suffix)
                if file.is_file():
                    return _read(file)
        raise ClipError(f"{self.place} holds no table of it ({path.stem}.csv or {path.stem}.parquet)")


def _tables(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix in SUFFIXES]


@lru_cache(maxsize=1)  # the one table of all clips is asked for with every clip
def _read(file: Path) -> "pd.DataFrame":
    import pandas as pd  # here, because other detectors' workers would wait for it

    try:
        table = pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
    except (ValueError, OSError) as error:
        raise ParameterError(f"faces.boxes: {file} cannot be read: {' '.join(str(error).split())}") from error
    table.columns = table.columns.str.strip()  # OpenFace writes a blank after each comma
    return table


def _common(one: Path, other: Path) -> int:
    """Return how many parts of two paths agree, counted from the end."""
    pairs = zip(reversed(one.parts), reversed(other.parts), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _py_feat(table: "pd.DataFrame") -> NDArray[np.float64]:
    corner = table[["FaceRectX", "FaceRectY"]].to_numpy()
    size = table[["FaceRectWidth", "FaceRectHeight"]].to_numpy()
    boxes = np.hstack([corner, corner + size, table[["FaceScore"]].to_numpy()])
    return np.hstack([boxes, _eyes(table)]) if f"x_{POINTS - 1}" in table else boxes


def _open_face(table: "pd.DataFrame") -> NDArray[np.float64]:
    points = [table[[f"{axis}_{number}" for number in range(POINTS)]].to_numpy() for axis in "xy"]
    scores = table["confidence"].where(table["success"] == 1, 0).to_numpy()
    corners = [function(axis, axis=1) for function in (np.min, np.max) for axis in points]
    return np.hstack([np.stack([*corners, scores], axis=1), _eyes(table)])


def _eyes(table: "pd.DataFrame") -> NDArray[np.float64]:
    """Return x, y of both eyes, each the mean of its six points."""
    means = [table[[f"{axis}_{number}" for number in eye]].to_numpy().mean(1) for eye in EYES for axis in "xy"]
    return np.stack(means, axis=1)
