"""The schemas of the HDF5 files: clips of different lengths as flat columns and offsets.

A file holds `clip_id (clips)`, `media_sha256 (clips)`, the sha256 of each clip's media, and columns. Row i of clip c
is `column[offsets[c] + i]`. A column whose rows differ in length (JPEG files, spectrogram windows) is flat, and
`<column>_offsets (rows + 1)` says where each row begins.

Damage is detected on read. Every chunk carries a checksum (fletcher32) except those of tokens, which are loaded whole,
hundreds of megabytes at a time: HDF5 would spend more time on their checksums than on reading. The sum of all their
words, kept as an attribute, costs an eighth of that (but does not notice rows that have changed places). The files are
not compressed: packed tokens take three quarters of the bytes and ten times as long to read (`python -m benchmarks
layout`), and crops are JPEG files already.
"""

from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from pipeline.store.clips import ClipFaces, ClipTokens, ClipWindows
from pipeline.store.columns import C, is_numbered

CLIP_ID, MEDIA_SHA256 = "clip_id", "media_sha256"
TOKENS = "tokens"
WORDS = 1 << 64  # the sum of all words is kept modulo this


@dataclass(frozen=True)
class Schema(Generic[C]):
    """What a file is: the value of its attribute `schema`, and its columns.

    They are those of an empty clip, with its types and row shapes; rows that are 0 wide there have any width.
    """

    name: str
    empty: C

    @property
    def clip(self) -> type[C]:
        """The type of the clips."""
        return type(self.empty)


FACES = Schema("fdan.faces/6", ClipFaces.empty())
WINDOWS = Schema("fdan.spectrograms/5", ClipWindows.empty(0))
EMBEDDINGS = Schema("fdan.embeddings/6", ClipTokens.empty(0))
SCHEMAS: dict[str, Schema[Any]] = {it.name: it for it in (FACES, WINDOWS, EMBEDDINGS)}
# The stage that writes a file: an error about the file asks the user to run it again.
STAGES = {
    "faces.h5": "faces",
    "spectrograms.h5": "spectrograms",
    "visual.h5": "embed_faces",
    "acoustic.h5": "embed_mels",
}
VARIANTS = "variants"  # the stage, and the folder of its folders in `data` or in the cache


def holds_tokens(column: str) -> bool:
    """Return whether a column holds tokens, of the images themselves or of augmented copies."""
    return column == TOKENS or is_numbered(column, "views")


def word_sum(rows: NDArray[Any]) -> int:
    """Return the sum of the words of rows (n, D) float32, modulo 2^64: 64-bit words where a row holds whole ones."""
    word = np.uint32 if rows.shape[1] % 2 else np.uint64
    return int(np.ascontiguousarray(rows).view(word).sum(dtype=np.uint64))
