"""Scores by clip, intervals over speakers, calibration, t-SNE, attention, files of results; the stage `evaluate`."""

__all__ = [
    "calibration",
    "figures",
    "intervals",
    "predictions",
    "projections",
    "result_file",
    "results",
    "schemas",
    "scores",
]
