"""Model weights: named, fetched once, verified by checksum, kept in the cache folder."""

import logging
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from pipeline.base.errors import WeightsError
from pipeline.base.files import atomic_write, cache_folder, file_sha256

TIMEOUT_S = 30
SHA256_DIGITS = 64
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightFile:
    """A published file; `sha256` may be the first digits only, or none, where its publisher tells no more."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]

    @property
    def place(self) -> Path:
        """Where the file lies, or should lie."""
        return cache_folder() / "weights" / self.name

    @property
    def checksum(self) -> str:
        """What is known of its checksum, in words."""
        if not self.sha256:
            return "no checksum is published"
        return f"sha256 {self.sha256}" + ("…" if len(self.sha256) < SHA256_DIGITS else "")

    @property
    def instructions(self) -> str:
        """What to do where no network is."""
        return f"download {self.url} ({self.checksum}) on another machine and put it at {self.place}"

    def missing(self) -> str:
        """Return how to get the file, or nothing where it is there."""
        if self.place.exists():
            return ""
        return f"{self.name} is fetched when it is needed; without a network {self.instructions}"

    def fault(self) -> str:
        """Return what is wrong with the file that is there, or nothing."""
        return _difference(self, self.place)


def obtain(weights: WeightFile) -> Path:
    """Return the verified file, fetching it first if it is not in the cache folder."""
    if not weights.place.exists():
        _fetch(weights)
    elif wrong := weights.fault():
        raise WeightsError(f"{weights.place} is not the published {weights.name}: {wrong}; remove it")
    return weights.place


def _difference(weights: WeightFile, path: Path) -> str:
    actual = file_sha256(path)
    return "" if actual.startswith(weights.sha256) else f"its sha256 is {actual}, not {weights.sha256}…"


def _fetch(weights: WeightFile) -> None:
    way_out = weights.instructions
    with atomic_write(weights.place) as temporary:
        try:
            with urllib.request.urlopen(weights.url, timeout=TIMEOUT_S) as response, temporary.open("wb") as file:
                while block := response.read(1 << 20):
                    file.write(block)
        except (OSError, HTTPException) as error:
            raise WeightsError(f"{weights.name} is not there and cannot be fetched ({error}); {way_out}") from error
        # Before it gets its name: a download that was cut short would be in the way of the next one.
        if wrong := _difference(weights, temporary):
            raise WeightsError(f"what {weights.url} gives is not the published {weights.name}: {wrong}; {way_out}")
        if not weights.sha256:
            log.warning(
                "%s: no checksum is published; what came has the sha256 %s", weights.name, file_sha256(temporary)
            )
