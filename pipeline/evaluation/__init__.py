"""Scores by clip, intervals over clusters, calibration, t-SNE, attention, files of results; the stage `evaluate`."""

__all__ = [
    "ablation_schemas",
    "calibration",
    "clusters",
    "figures",
    "intervals",
    "predictions",
    "projections",
    "randomisation",
    "result_file",
    "results",
    "schemas",
    "scores",
]
