"""Spectrograms of audio: kinds of them, cut into windows; the stage `spectrograms`."""

__all__ = ["kinds", "sheet", "step", "windows"]
