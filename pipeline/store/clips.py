"""What a clip is on its way: face crops, spectrogram windows, tokens. The field names are the columns of the files."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.store.columns import ClipData, Ragged


@dataclass(frozen=True, eq=False)
class ClipFaces(ClipData):
    """The n frames of a clip that show the person whom it is about."""

    boxes: NDArray[np.float32]  # (n, 5): x1, y1, x2, y2 in pixels of the frame, and the score
    face_counts: NDArray[np.int32]  # (n,): how many faces the frame shows
    sources: NDArray[np.uint8]  # (n,): 0 detected, 1 filled from its neighbours in time, 2 the whole frame
    leads: NDArray[np.float32]  # (n,): how far the person's score is above the next one's; see `faces.person`
    angles: NDArray[np.float32]  # (n,): degrees, clockwise, by which the crop is turned so that the eyes are level
    crops: Ragged[np.uint8]  # n JPEG files, size_px square

    @classmethod
    def empty(cls) -> "ClipFaces":
        """Return the faces of a clip that shows none."""
        return cls(
            times=np.empty(0, np.float32),
            boxes=np.empty((0, 5), np.float32),
            face_counts=np.empty(0, np.int32),
            sources=np.empty(0, np.uint8),
            leads=np.empty(0, np.float32),
            angles=np.empty(0, np.float32),
            crops=Ragged(np.empty(0, np.uint8), np.empty(0, np.int64)),
        )


@dataclass(frozen=True, eq=False)
class ClipWindows(ClipData):
    """The n spectrogram windows of a clip; the time of each is its middle."""

    durations: NDArray[np.float32]  # (n,) seconds
    windows: Ragged[np.float32]  # n windows (frames, bands), 0 (black) to 1 (white), the lowest band first

    @classmethod
    def empty(cls, bands: int) -> "ClipWindows":
        """Return the windows of a clip that has none."""
        return cls(
            times=np.empty(0, np.float32),
            durations=np.empty(0, np.float32),
            windows=Ragged(np.empty((0, bands), np.float32), np.empty(0, np.int64)),
        )


@dataclass(frozen=True, eq=False)
class ClipTokens(ClipData):
    """The n tokens of one modality of a clip."""

    tokens: NDArray[np.float32]  # (n, D)
    views: tuple[NDArray[np.float32], ...] = ()  # (n, D) each: tokens of augmented copies, to train on

    @classmethod
    def empty(cls, width: int, views: int = 0) -> "ClipTokens":
        """Return the tokens of a clip that has none: `width` is D, `views` the number of augmented copies."""
        tokens = np.empty((0, width), np.float32)
        return cls(times=np.empty(0, np.float32), tokens=tokens, views=(tokens,) * views)
