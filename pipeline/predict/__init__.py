"""A trained head asked about new clips, and a picture of what its answer rests on."""

__all__ = ["explanation", "predictor"]
