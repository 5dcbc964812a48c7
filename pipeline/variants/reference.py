"""Whether the embeddings of the reference are those of params.yaml; no code that extracts is imported."""

from typing import Any

from pipeline.base.errors import StoreError
from pipeline.base.params import PARAMS_FILE, quote, read_params
from pipeline.store.embedding_files import EmbeddingFiles
from pipeline.store.reader import Reader

SECTIONS = (("faces", "embed_faces"), ("spectrograms", "embed_mels"))  # of the images and their tokens, by modality
CHOSEN = "convolution"  # a stage replaces it where it cannot be computed


def require_current_settings() -> None:
    """Raise if `data/embeddings` were made with other settings: rows would be compared with another reference."""
    params = read_params()
    for path, (images, tokens) in zip(EmbeddingFiles(), SECTIONS, strict=True):
        if not path.is_file():
            continue
        attributes = Reader[Any](path, schema=None).attributes
        for section, made in ((images, attributes["upstream"].get("config") or {}), (tokens, attributes["config"])):
            for key, value in (params.get(section) or {}).items():
                if key in made and key != CHOSEN and made[key] != value:
                    raise StoreError(
                        f"{path} was made with {section}.{key} = {quote(made[key])}, and {PARAMS_FILE} has "
                        f"{quote(value)}; run: dvc repro {tokens}"
                    )
