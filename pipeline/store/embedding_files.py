"""The two files of embeddings that heads are trained on."""

from pathlib import Path
from typing import NamedTuple


class EmbeddingFiles(NamedTuple):
    """The files of both modalities, by default those of the stages `embed_faces` and `embed_mels`."""

    visual: Path = Path("data/embeddings/visual.h5")
    acoustic: Path = Path("data/embeddings/acoustic.h5")
