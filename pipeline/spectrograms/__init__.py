"""Spectrograms of audio: kinds of them, cut into windows; the stage `spectrograms`."""

__all__ = ["checks", "kinds", "sheet", "step", "windows"]
