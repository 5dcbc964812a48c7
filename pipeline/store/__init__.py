"""The HDF5 files that one stage hands to the next: typed clips, schemas, a reader, a writer, features as tensors."""

__all__ = [
    "attributes",
    "clips",
    "columns",
    "embedding_files",
    "features",
    "reader",
    "schemas",
    "stored_tokens",
    "tokens",
    "writer",
]
