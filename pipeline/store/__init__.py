"""The HDF5 files that one stage hands to the next: their schemas, a reader, a writer, features as tensors."""

__all__ = ["features", "reader", "schemas", "writer"]
