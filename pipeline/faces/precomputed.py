"""Boxes from another tool: the tables that OpenFace and py-feat write, as CSV or Parquet."""

import os
from collections.abc import Sequence
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
POINTS = 68  # landmarks of the face, in the usual order
POINT_COLUMNS = tuple(f"{axis}_{number}" for axis in "xy" for number in range(POINTS))
RECTANGLE = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight")
EYES = (range(36, 42), range(42, 48))  # the points of the eye on the left of the image, then of the other


@dataclass(frozen=True)
class Tables:
    """A folder with a table for each clip, named like the clip, or one table with a column `input`."""

    path: Path
    min_score: float

    def digest(self) -> str:
        """Return the sha256 of all tables and their names."""
        files = [self.path] if self.path.is_file() else sorted(_tables(self.path))
        if not files:
            raise ParameterError(f"faces.boxes: {self.path} is neither a table (.csv, .parquet) nor a folder of them")
        return digest([[str(file.relative_to(self.path)), file_sha256(file)] for file in files])

    def boxes(self, path: Path, times: NDArray[np.float32]) -> list[Boxes]:
        """Return the boxes (n, 5), or (n, 9) with the eyes, of the clip's frame at each of the times in seconds.

        Raise ClipError if there are none for this clip, and ParameterError if the table is not readable.
        """
        table = self._read_clip(path)
        if {"FaceRectX", "FaceScore"} <= set(table):
            points = POINT_COLUMNS if POINT_COLUMNS[-1] in table else ()
            table = self._numbers(table, ("frame", *RECTANGLE, "FaceScore", *points), path)
            rows, frames = _py_feat(table), table["frame"]
        elif {"success", "confidence", "x_0"} <= set(table):
            table = self._numbers(table, ("frame", "success", "confidence", *POINT_COLUMNS), path)
            rows, frames = _open_face(table), table["frame"] - 1  # OpenFace counts from 1
        else:
            raise ParameterError(
                f"faces.boxes: the table of {path.name} in {self.path} has neither the columns of OpenFace "
                "(frame, success, confidence, x_0, y_0 …) nor of py-feat (frame, FaceRectX, FaceScore …)"
            )
        confident = rows[:, 4] >= self.min_score  # false in a frame without a face, where the score is NaN
        all_times = frame_times(path)
        nearest = [np.abs(all_times - time).argmin() for time in times]
        with np.errstate(over="ignore"):  # a box that is too large becomes infinite
            return [rows[confident & (frames == frame).to_numpy()].astype(np.float32) for frame in nearest]

    def _numbers(self, table: "pd.DataFrame", names: Sequence[str], path: Path) -> "pd.DataFrame":
        """Return columns of the clip's table as numbers; raise ParameterError if one is missing, twice, or text."""
        where = f"faces.boxes: the table of {path.name} in {self.path}"
        for name in names:
            count = list(table.columns).count(name)
            if count != 1:
                raise ParameterError(f"{where} has {count} columns {name!r}, not one")
        try:
            return table[list(names)].astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ParameterError(f"{where} holds a value that is no number: {' '.join(str(error).split())}") from error

    def _read_clip(self, path: Path) -> "pd.DataFrame":
        if self.path.is_file():
            table = _read(self.path)
            if "input" not in table:
                raise ParameterError(f"faces.boxes: {self.path} has no column `input` with the name of each row's clip")
            if list(table.columns).count("input") > 1:
                raise ParameterError(f"faces.boxes: {self.path} has several columns `input`")
            inputs = table["input"].map(str)
            name = max(inputs.unique(), key=lambda name: _common_parts(Path(name), path), default="")
            if _common_parts(Path(name), path) == 0:
                raise ClipError(f"{self.path} holds no boxes of it")
            return table[inputs == name]
        for depth in range(len(path.parts) - 1, 0, -1):  # the longest match first: two speakers may both have an a01
            for suffix in SUFFIXES:
                file = self.path.joinpath(*path.parts[-depth:]).with_suffix(suffix)
                if os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises for a name that is too long
                    return _read(file)
        raise ClipError(f"{self.path} holds no table of it ({path.stem}.csv or {path.stem}.parquet)")


def _tables(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix in SUFFIXES and file.is_file()]


@lru_cache(maxsize=1)  # a table of all clips is needed for every clip
def _read(file: Path) -> "pd.DataFrame":
    import pandas as pd  # imported late: other detectors do not need it

    try:
        table = pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
    except Exception as error:  # whatever pandas and pyarrow raise on a file of a stranger
        raise ParameterError(f"faces.boxes: {file} cannot be read: {' '.join(str(error).split())}") from error
    table.columns = table.columns.astype(str).str.strip()  # OpenFace writes a space after each comma
    return table


def _common_parts(one: Path, other: Path) -> int:
    """Return how many of the last parts of two paths are equal."""
    pairs = zip(reversed(one.parts), reversed(other.parts), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _py_feat(table: "pd.DataFrame") -> NDArray[np.float64]:
    corner, size = (table[list(names)].to_numpy() for names in (RECTANGLE[:2], RECTANGLE[2:]))
    boxes = np.hstack([corner, corner + size, table[["FaceScore"]].to_numpy()])
    return np.hstack([boxes, _eyes(table)]) if f"x_{POINTS - 1}" in table else boxes


def _open_face(table: "pd.DataFrame") -> NDArray[np.float64]:
    points = [table[[f"{axis}_{number}" for number in range(POINTS)]].to_numpy() for axis in "xy"]
    scores = table["confidence"].where(table["success"] == 1, 0).to_numpy()
    corners = [function(axis, axis=1) for function in (np.min, np.max) for axis in points]
    return np.hstack([np.stack([*corners, scores], axis=1), _eyes(table)])


def _eyes(table: "pd.DataFrame") -> NDArray[np.float64]:
    """Return x, y of both eyes (n, 4), each the mean of its six points."""
    means = [table[[f"{axis}_{number}" for number in eye]].to_numpy().mean(1) for eye in EYES for axis in "xy"]
    return np.stack(means, axis=1)
