"""Limits of what one media file may hold; they are counted while decoding, because headers may be wrong."""

from dataclasses import dataclass
from typing import Protocol


class RunLimits(Protocol):
    """The part of the section `run` that limits media."""

    @property
    def max_pixels(self) -> int:
        """Pixels that a frame may have."""

    @property
    def max_decoded_s(self) -> float:
        """Seconds of video or audio that a file may contain."""


@dataclass(frozen=True)
class Limits:
    """The largest frame in pixels and the longest video or audio in seconds; the defaults are those of `run`."""

    max_pixels: int = 9437184
    max_decoded_s: float = 600

    @classmethod
    def of(cls, run: RunLimits) -> "Limits":
        """Return the limits of a section `run`."""
        return cls(max_pixels=run.max_pixels, max_decoded_s=run.max_decoded_s)


DEFAULT_LIMITS = Limits()
