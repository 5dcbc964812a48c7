"""Scores by clip, intervals over speakers, calibration, projections, attention; the stage `evaluate`."""

__all__ = ["calibration", "figures", "intervals", "predictions", "projections", "results", "scores"]
