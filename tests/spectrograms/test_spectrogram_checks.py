"""The spectrograms' contract is checked in the stage: each mistake stops the run with one line that names it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_one_line, write_media

from pipeline.base.errors import ContractError
from pipeline.memo.extraction import ClipJob
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms.checks import check_spectrogram
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig
from pipeline.spectrograms.step import write_windows
from pipeline.store.clips import ClipWindows
from pipeline.store.reader import Reader
from pipeline.store.schemas import WINDOWS

PLUGIN = """
import numpy as np

def columns(samples, hop, fft=0):
    return 1 + (samples - fft) // hop

GIVEN = {  # (bands, frames) by config and samples
    "centred": lambda it, n: np.zeros((it.bands, columns(n, it.hop)), np.float32),
    "within the audio": lambda it, n: np.zeros((it.bands, columns(n, it.hop, it.fft_samples)), np.float32),
    "transposed": lambda it, n: np.zeros((columns(n, it.hop), it.bands), np.float32),
    "bands": lambda it, n: np.zeros((64, columns(n, it.hop)), np.float32),
    "three": lambda it, n: np.zeros((1, it.bands, columns(n, it.hop)), np.float32),
    "nan": lambda it, n: np.full((it.bands, columns(n, it.hop)), np.nan, np.float32),
    "minus infinity": lambda it, n: np.log(np.eye(it.bands, columns(n, it.hop), dtype=np.float32)),
    "doubles": lambda it, n: np.zeros((it.bands, columns(n, it.hop))),
    "list": lambda it, n: [[0.0]],
    "milliseconds": lambda it, n: np.zeros((it.bands, columns(n, int(it.hop_ms))), np.float32),
    "seconds": lambda it, n: np.zeros((it.bands, n // it.rate_hz), np.float32),
    "default hop": lambda it, n: np.zeros((it.bands, columns(n, it.fft_samples // 4)), np.float32),
    "no columns": lambda it, n: np.zeros((it.bands, 0), np.float32),
}

def build(config):
    def compute(audio, rate_hz):
        with np.errstate(divide="ignore"):
            return GIVEN[config.options["given"]](config, len(audio))

    return compute
"""


@pytest.fixture(autouse=True, scope="module")
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("spectrograms")
    (folder / "given_values.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


def write(tmp_path: Path, given: str, *, seconds: float = 3) -> Reader[ClipWindows]:
    """Write windows of a tone with a plugin that gives these values."""
    samples = np.sin(np.arange(round(seconds * 16000)) / 10).astype(np.float32)
    path = write_media(tmp_path / "a.wav", sound=samples)
    config = SpectrogramsConfig(kind="given_values:build", options={"given": given})
    run = ExecutionConfig(scheduler="synchronous")
    write_windows(tmp_path / "a.h5", [ClipJob("a", "0", lambda: path)], config, run=run, quiet=True)
    return Reader(tmp_path / "a.h5", schema=WINDOWS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("transposed", r"the shape \(301, 128\); .*\(bands = 128, frames\): it is transposed: return values.T"),
        ("bands", r"the shape \(64, 301\); .*: take as many rows as config.bands says"),
        ("three", r"the shape \(1, 128, 301\)"),
        ("nan", "100% NaN or infinity; it should give finite values"),
        ("minus infinity", r"\d+% NaN or infinity; .*before a logarithm"),
        ("doubles", r"float64; .*use .astype\(np.float32\)"),
        ("list", "list; it should give a float32 array"),
        ("milliseconds", "4801 columns for 48000 samples; it should give 301, .*config.hop_ms is in milliseconds"),
        ("seconds", "3 columns for 48000 samples; .*: this is a column every second"),
        ("default hop", "188 columns .*: this is librosa's default"),
        ("no columns", "0 columns"),
    ],
)
def test_mistake_of_a_spectrogram_stops_the_run_with_one_line(given: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=rf"^spectrogram 'given_values:build' gave {words}") as error:
        write(tmp_path, given)
    assert_one_line(str(error.value))


@pytest.mark.parametrize("seconds", [0.02, 0.1, 3])
@pytest.mark.parametrize("given", ["centred", "within the audio"])
def test_both_ways_to_place_columns_pass(given: str, seconds: float, tmp_path: Path) -> None:
    assert list(write(tmp_path, given, seconds=seconds)) == ["a"]


@pytest.mark.parametrize("name", sorted(SPECTROGRAMS))
@pytest.mark.parametrize("samples", [1024, 5000, 16000])
def test_every_spectrogram_passes(name: str, samples: int) -> None:
    for hop_ms in (5, 10, 33):
        config = SpectrogramsConfig(kind=name, hop_ms=hop_ms)
        sound = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
        check_spectrogram(SPECTROGRAMS[name](config)(sound, 16000), config, samples=samples)
