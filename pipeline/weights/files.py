"""Model weights: fetched once, verified by checksum, and kept in the cache folder."""

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

from pipeline.base.errors import WeightsError
from pipeline.base.files import atomic_write, cache_folder, file_sha256

TIMEOUT_S = 30
CHECK_TIMEOUT_S = 10  # whoever asks for a check is waiting for the answer
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
    else:
        _require_published(weights)
    return weights.path


def check_weights(weights: WeightFile) -> None:
    """Raise the `WeightsError` that `fetch_weights` would raise; nothing is downloaded but the start of the answer."""
    if weights.path.exists():
        _require_published(weights)
        return
    with _report_failure(weights), urllib.request.urlopen(weights.url, timeout=CHECK_TIMEOUT_S):
        pass


def _require_published(weights: WeightFile) -> None:
    if mismatch := weights.mismatch():
        raise WeightsError(f"{weights.path} is not the published {weights.name}: {mismatch}; delete it")


def _mismatch(weights: WeightFile, path: Path) -> str:
    actual = file_sha256(path)
    return "" if actual.startswith(weights.sha256) else f"its sha256 is {actual}, not {weights.sha256}…"


@contextmanager
def _report_failure(weights: WeightFile) -> Iterator[None]:
    """Turn an error of the network into a `WeightsError` that says how to get the file without one."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise WeightsError(
            f"{weights.name} is missing and cannot be downloaded ({error}); {weights.instructions}"
        ) from error


def _download(weights: WeightFile) -> None:
    with atomic_write(weights.path) as temporary:
        with _report_failure(weights), temporary.open("wb") as file:
            _copy(weights.url, file)
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


def _copy(url: str, file: IO[bytes]) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        while block := response.read(1 << 20):
            file.write(block)
