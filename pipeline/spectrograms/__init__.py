"""Sound as pictures: kinds of spectrograms, cut into windows; the stage `spectrograms`."""

__all__ = ["kinds", "sheet", "step", "windows"]
