"""Clips of different lengths in one HDF5 file: flat columns and offsets, written once, read lazily.

A file holds `clip_id (clips)`, `media_sha256 (clips)`, the sha256 of each clip's media, and columns. Row i of clip c lies
at `column[offsets[c] + i]`. A column whose rows are themselves of different lengths (an image file, a spectrogram's
window) lies flat beside its own `<column>_offsets (rows + 1)`.

Damage is met, not read: every chunk carries a checksum (fletcher32), but for tokens, which are loaded whole and
hundreds of megabytes at a time. HDF5 would spend more time on their checksums than on reading; the sum of all
their words, kept as an attribute, costs an eighth of that (and would not see rows that have changed places). Nothing
is compressed: packed tokens take three quarters of the bytes, and ten times as long to read (`python -m benchmarks
layout`); crops are JPEG files already.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

CLIP_ID, MEDIA_SHA256 = "clip_id", "media_sha256"
CHECKSUM = "checksum"  # the sha256 of all other attributes
TOKENS = "tokens"
VIEW = "view_"  # how the columns begin that hold tokens, too, but of augmented copies
WORDS = 1 << 64  # the sum of all words is kept modulo this
PICTURES = {"visual": "fdan.faces/5", "acoustic": "fdan.spectrograms/4"}  # the schemas of what each modality shows
EMBEDDINGS = "fdan.embeddings/5"
# Which stage makes a file: what an error about it tells the user to run again.
STAGES = {
    "faces.h5": "faces",
    "spectrograms.h5": "spectrograms",
    "visual.h5": "embed_faces",
    "acoustic.h5": "embed_mels",
}


def offsets_name(column: str) -> str:
    """Return the name of the offsets of a ragged column, or of the clips for no name."""
    return f"{column}_offsets" if column else "offsets"


def holds_tokens(column: str) -> bool:
    """Return whether a column holds tokens, of the pictures or of augmented copies."""
    return column == TOKENS or column.startswith(VIEW)


def word_sum(rows: NDArray[Any]) -> int:
    """Return the sum of the words of rows (n, D) float32, modulo 2^64: 64-bit words where a row holds whole ones."""
    word = np.uint32 if rows.shape[1] % 2 else np.uint64
    return int(np.ascontiguousarray(rows).view(word).sum(dtype=np.uint64))
