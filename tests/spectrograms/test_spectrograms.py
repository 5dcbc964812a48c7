"""Spectrograms: pitch, level, and the times of windows."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import librosa
import numpy as np
import pytest
from conftest import write_media
from numpy.typing import NDArray
from scipy.signal import stft

from pipeline.base.errors import AbsentModalityError, ParameterError
from pipeline.base.params import check
from pipeline.base.provenance import ROOT
from pipeline.memo.extraction import ClipJob
from pipeline.parallel.pool import ExecutionConfig
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig
from pipeline.spectrograms.step import write_windows
from pipeline.spectrograms.windows import extract_windows, window_spans

RATE_HZ = 16000


def tone(hertz: float, seconds: float, level: float = 0.5) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(SPECTROGRAMS))
def test_every_spectrogram_keeps_the_contract(name: str) -> None:
    config = SpectrogramsConfig(kind=name)
    values = SPECTROGRAMS[name](config)(tone(440, 1), RATE_HZ)
    assert values.dtype == np.float32
    assert values.shape == (config.bands, 1 + RATE_HZ // config.hop)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("hertz", [200.0, 1000.0, 4000.0])
def test_a_tone_is_brightest_in_the_band_of_its_pitch(hertz: float) -> None:
    config = SpectrogramsConfig()
    values = SPECTROGRAMS["log_mel"](config)(tone(hertz, 1), RATE_HZ)
    centres = librosa.mel_frequencies(n_mels=config.bands + 2, fmin=config.fmin_hz, fmax=config.fmax_hz)[1:-1]
    assert values[:, 20:-20].mean(1).argmax() == pytest.approx(np.abs(centres - hertz).argmin(), abs=1)


def test_band_powers_agree_with_an_independent_transform() -> None:
    config = SpectrogramsConfig()
    sound = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
    values = SPECTROGRAMS["log_mel"](config)(sound, RATE_HZ)
    _, _, z = stft(sound, RATE_HZ, nperseg=1024, noverlap=1024 - config.hop, boundary=None, padded=False)
    power = np.abs(z * np.hanning(1025)[:-1].sum()) ** 2  # SciPy divides by the window's sum
    bands = librosa.filters.mel(sr=RATE_HZ, n_fft=1024, n_mels=128, fmin=50, fmax=8000) @ power
    # librosa's first frames reach beyond the start; its frame i is centred on sample i·hop, SciPy's on 512 + i·hop.
    shift = 512 / config.hop
    assert shift == pytest.approx(3.2)
    np.testing.assert_allclose(values[:, 10:-10].mean(), 10 * np.log10(bands[:, 7:-7]).mean(), atol=0.1)


def test_ten_times_the_amplitude_is_twenty_decibels_more() -> None:
    compute = SPECTROGRAMS["log_mel"](SpectrogramsConfig())
    quiet, loud = compute(tone(440, 1, 0.05), RATE_HZ), compute(tone(440, 1, 0.5), RATE_HZ)
    assert loud.max() - quiet.max() == pytest.approx(20, abs=0.01)


def windows(path: Path, config: SpectrogramsConfig) -> list[NDArray[np.float32]]:
    return list(extract_windows(path, config).windows)


def test_a_window_shows_the_sound_at_its_time(tmp_path: Path) -> None:
    # A second at 500 Hz, then one at 3000 Hz.
    path = write_media(tmp_path / "a.wav", sound=np.concatenate([tone(500, 1), tone(3000, 1)]))
    config = SpectrogramsConfig(window_s=0.5, overlap=0.0)
    times = extract_windows(path, config).times
    np.testing.assert_allclose(times, [0.25, 0.75, 1.25, 1.75], atol=0.02)
    bands = [int(window.mean(0).argmax()) for window in windows(path, config)]
    centres = librosa.mel_frequencies(n_mels=130, fmin=50, fmax=8000)[1:-1]
    np.testing.assert_allclose(centres[bands], [500, 500, 3000, 3000], rtol=0.05)


def test_windows_span_the_clip_with_the_requested_overlap() -> None:
    spans = window_spans(250, length=100, overlap=0.5)
    assert spans == [(0, 100), (50, 150), (100, 200), (150, 250)]
    for length, overlap in [(100, 0.0), (100, 0.5), (30, 0.75)]:
        spans = window_spans(317, length=length, overlap=overlap)
        assert spans[0][0] == 0
        assert spans[-1][1] == 317
        assert {stop - start for start, stop in spans} == {length}
        steps = [after[0] - before[0] for before, after in pairwise(spans)]
        assert max(steps) - min(steps) <= 1
        assert np.mean(steps) == pytest.approx(length * (1 - overlap), rel=0.35)


def test_a_short_clip_is_one_window_padded_with_silence(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", sound=tone(1000, 0.3))
    (window,) = windows(path, SpectrogramsConfig())
    assert window.shape == (100, 128)
    assert window[:25].max() > 0.5
    assert (window[40:] == 0).all()


def test_without_a_window_length_a_clip_is_one_image(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", sound=tone(1000, 2.3))
    (window,) = windows(path, SpectrogramsConfig(window_s=None))
    assert len(window) == pytest.approx(231, abs=1)


def test_a_pause_is_black_and_finite(tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(RATE_HZ, np.float32), tone(1000, 1)])
    first, *_ = windows(write_media(tmp_path / "a.wav", sound=sound), SpectrogramsConfig(overlap=0))
    assert (first[:90] == 0).all()


@pytest.mark.parametrize("seconds", [0.05, 0.7, 3])
@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".mp4"])
@pytest.mark.parametrize(("level", "constant"), [(0, 0), (1e-6, 0), (0, 0.5)])
def test_a_sound_that_cannot_be_heard_is_none(
    level: float, constant: float, suffix: str, seconds: float, tmp_path: Path
) -> None:
    sound = level * tone(1000, seconds) + np.float32(constant)
    if constant and suffix != ".wav":
        pytest.skip("a lossy codec does not keep a constant")
    path = write_media(tmp_path / f"a{suffix}", sound=sound, rate_hz=RATE_HZ)
    for rate_hz in (RATE_HZ, 22050):
        with pytest.raises(AbsentModalityError, match=r"its sound is silent: -\d+ dBFS in its loudest second"):
            windows(path, SpectrogramsConfig(rate_hz=rate_hz))


def test_silence_is_what_is_quieter_than_the_limit_in_its_loudest_second(tmp_path: Path) -> None:
    sound = np.zeros(3 * RATE_HZ, np.float32)
    sound[RATE_HZ : 2 * RATE_HZ] = tone(1000, 1, level=0.01)  # an RMS of -43 dBFS, in the second second only
    path = write_media(tmp_path / "a.wav", sound=sound)
    assert windows(path, SpectrogramsConfig(silence_dbfs=-44))
    with pytest.raises(AbsentModalityError, match="silent: -43 dBFS"):
        windows(path, SpectrogramsConfig(silence_dbfs=-42))
    click = np.eye(1, RATE_HZ, 900, dtype=np.float32)[0]
    assert windows(write_media(tmp_path / "click.wav", sound=click), SpectrogramsConfig())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fmax_hz": 9000}, "fmin_hz < fmax_hz <= rate_hz / 2"),
        ({"black": 30}, "black < white, not 30.0, 20.0"),
        ({"overlap": 1.0}, "less than or equal to 0.99"),
        ({"fmin_hz": 0, "kind": "cqt"}, "cqt needs fmin_hz > 0"),
        ({"kind": "log_mell"}, "did you mean 'log_mel'"),
        ({"n_mels": 64}, "valid: bands, black, channels, fft_samples"),
    ],
)
def test_impossible_parameters_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        check(change, SpectrogramsConfig, where="spectrograms")


def test_the_step_keeps_the_limits_of_the_run(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.wav", sound=tone(440, 1))
    run = ExecutionConfig(scheduler="synchronous", max_decoded_s=0.5)
    jobs = [ClipJob("a", "0", lambda: path)]
    summary = write_windows(tmp_path / "a.h5", jobs, SpectrogramsConfig(), run=run, quiet=True)
    assert summary.failures == {"a": "lasts longer than run.max_decoded_s = 0.5 s allows"}


def test_librosa_compiles_a_function_only_when_it_is_called(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMPILING],
        cwd=ROOT,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[]", "[True, True, False] [25.0] ['_cabs2', '_zc_wrapper']"]


COMPILING = """
import os
from pathlib import Path
import numpy as np
from pipeline.spectrograms.kinds import SPECTROGRAMS, SpectrogramsConfig

def compiled():
    files = Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi")
    return sorted({it.name.split("-")[-2].split(".")[-1] for it in files})

for name in ("log_mel", "mfcc"):
    SPECTROGRAMS[name](SpectrogramsConfig(kind=name))(np.zeros(16000, np.float32), 16000)
print(compiled())

import librosa  # as a user's own spectrogram does

crossings = librosa.zero_crossings(np.array([1.0, -1.0, -2.0]))
print(crossings.tolist(), librosa.util.abs2(np.array([3 + 4j])).tolist(), compiled())
"""
