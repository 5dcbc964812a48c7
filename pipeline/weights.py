"""Model weights: named, fetched once, verified by checksum, kept in the cache folder."""

import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from pipeline.errors import WeightsError
from pipeline.files import cache_folder, file_digest, written_whole

TIMEOUT_S = 30


@dataclass(frozen=True)
class WeightFile:
    """A published file; `sha256` may be the first digits only, where its publisher tells no more."""

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

    def missing(self) -> str:
        """Return how to get the file, or nothing where it is there."""
        return (
            "" if self.place.exists() else f"{self.name} is fetched when it is needed; without a network {self.way_out}"
        )

    @property
    def way_out(self) -> str:
        """What to do where no network is."""
        return f"download {self.url} (sha256 {self.sha256}…) on another machine and put it at {self.place}"


def obtain(weights: WeightFile) -> Path:
    """Return the verified file, fetching it first if it is not in the cache folder."""
    path = weights.place
    if not path.exists():
        _fetch(weights, path)
    elif wrong := _difference(weights, path):
        raise WeightsError(f"{path} is not the published {weights.name}: {wrong}; remove it")
    return path


def _difference(weights: WeightFile, path: Path) -> str:
    """Return what is wrong with the file, or nothing."""
    actual = file_digest(path)
    return "" if actual.startswith(weights.sha256) else f"its sha256 is {actual}, not {weights.sha256}…"


def _fetch(weights: WeightFile, path: Path) -> None:
    way_out = weights.way_out
    with written_whole(path) as temporary:
        try:
            with urllib.request.urlopen(weights.url, timeout=TIMEOUT_S) as response, temporary.open("wb") as file:
                while block := response.read(1 << 20):
                    file.write(block)
        except (OSError, HTTPException) as error:
            raise WeightsError(f"{weights.name} is not there and cannot be fetched ({error}); {way_out}") from error
        # Before it gets its name: a download that was cut short would be in the way of the next one.
        if wrong := _difference(weights, temporary):
            raise WeightsError(f"what {weights.url} gives is not the published {weights.name}: {wrong}; {way_out}")
