"""Model weights: fetched once, verified by checksum, and kept in the cache folder."""

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
    """A published file; `sha256` may be only its first digits, or empty, if its publisher gives no more."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file name."""
        return self.url.rpartition("/")[2]

    @property
    def path(self) -> Path:
        """The path of the file in the cache folder, whether or not the file exists."""
        return cache_folder() / "weights" / self.name

    @property
    def checksum_text(self) -> str:
        """The published checksum as text for messages."""
        if not self.sha256:
            return "no checksum is published"
        return f"sha256 {self.sha256}" + ("…" if len(self.sha256) < SHA256_DIGITS else "")

    @property
    def instructions(self) -> str:
        """How to get the file without a network."""
        return f"download {self.url} ({self.checksum_text}) on another machine and put it at {self.path}"

    def missing_message(self) -> str:
        """Return how to get the file if it is missing, else an empty string."""
        if self.path.exists():
            return ""
        return f"{self.name} will be fetched when needed; without a network, {self.instructions}"

    def mismatch(self) -> str:
        """Return how the existing file differs from the published checksum, or an empty string."""
        return _mismatch(self, self.path)


def fetch_weights(weights: WeightFile) -> Path:
    """Return the path of the verified file, after downloading it if it is missing; raise `WeightsError` on failure."""
    if not weights.path.exists():
        _download(weights)
    elif mismatch := weights.mismatch():
        raise WeightsError(f"{weights.path} is not the published {weights.name}: {mismatch}; delete it")
    return weights.path


def _mismatch(weights: WeightFile, path: Path) -> str:
    actual = file_sha256(path)
    return "" if actual.startswith(weights.sha256) else f"its sha256 is {actual}, not {weights.sha256}…"


def _download(weights: WeightFile) -> None:
    with atomic_write(weights.path) as temporary:
        try:
            with urllib.request.urlopen(weights.url, timeout=TIMEOUT_S) as response, temporary.open("wb") as file:
                while block := response.read(1 << 20):
                    file.write(block)
        except (OSError, HTTPException) as error:
            raise WeightsError(
                f"{weights.name} is missing and cannot be downloaded ({error}); {weights.instructions}"
            ) from error
        # Verify before the rename: an incomplete download must not take the place of the next one.
        if mismatch := _mismatch(weights, temporary):
            raise WeightsError(
                f"the download of {weights.url} is not the published {weights.name}: {mismatch}; {weights.instructions}"
            )
        if not weights.sha256:
            log.warning(
                "%s: no checksum is published; the downloaded file has the sha256 %s",
                weights.name,
                file_sha256(temporary),
            )
