"""Predictions of a trained head on new clips, and figures that explain them."""

__all__ = ["explanation", "media_files", "predictor"]
