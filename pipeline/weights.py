"""Model weights: named, fetched once, verified by checksum, kept in the cache folder."""

import urllib.error
import urllib.request
from dataclasses import dataclass
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


def obtain(weights: WeightFile) -> Path:
    """Return the verified file, fetching it first if it is not in the cache folder."""
    path = cache_folder() / "weights" / weights.name
    if not path.exists():
        _fetch(weights, path)
    actual = file_digest(path)
    if not actual.startswith(weights.sha256):
        raise WeightsError(
            f"{path} is not the published {weights.name}: its sha256 is {actual}, not {weights.sha256}…; remove it"
        )
    return path


def _fetch(weights: WeightFile, path: Path) -> None:
    try:
        with (
            urllib.request.urlopen(weights.url, timeout=TIMEOUT_S) as response,
            written_whole(path) as temporary,
            temporary.open("wb") as file,
        ):
            while block := response.read(1 << 20):
                file.write(block)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise WeightsError(
            f"{weights.name} is not there and cannot be fetched ({error}); download {weights.url} "
            f"(sha256 {weights.sha256}…) on another machine and put it at {path}"
        ) from error
